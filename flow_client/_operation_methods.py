"""The client's methods that are one operation of the platform's HTTP API each, and the wait (contract section 1)."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flow_client._api._generated import operations
from flow_client._batch import submission
from flow_client._bridge_methods import BridgeMethods
from flow_client._client_core import DEFAULT_EXECUTION_TIMEOUT, ClientCore, caller
from flow_client._core.checks import optional_seconds, seconds, shown, version_text
from flow_client._core.log import logger, say_what_is_left
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.futures import SharedWaiter
from flow_client._waiting.polling import DEFAULT_NOT_FOUND_GRACE, DEFAULT_WAIT, Look, PollSchedule, Waiter
from flow_client.errors import InvalidRequestError, PlatformClientError, PlatformResponseError
from flow_client.executions import ExecutionHandle, id_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from flow_client._api.operation import Operation
    from flow_client._client_core import Identifier, JsonObject
    from flow_client._http.transport import Reply, Transport
    from flow_client.config import Settings
    from flow_client.executions import ExecutionReference, OnInterrupt
    from flow_client.models import ExecutionAccepted, ExecutionCancellation, ExecutionRecord

CANCEL_TIMEOUT = 10.0
"""Seconds for the cancellation of an execution whose wait ran out of time or was interrupted."""


class OperationMethods(ClientCore, BridgeMethods):
    """Operations, handles and the wait; `PlatformClient` says what all of them raise."""

    def __init__(self, settings: Settings, transport: Transport, source: OperationMethods | None = None) -> None:
        ClientCore.__init__(self, settings, transport)
        BridgeMethods.__init__(self, settings.nats_url, source)
        self._is_original = source is None
        self._waiter = Waiter(self._look)
        self._futures: SharedWaiter = source._futures if source else SharedWaiter(self._look, self._open_hints)  # noqa: SLF001 - its own kind

    def submit_code_block_execution(
        self,
        code_block_id: Identifier,
        input_parameters: JsonObject,
        config: JsonObject | None = None,
        lifecycle_event: str | None = "workflow",
        ring_id: Identifier | None = None,
        timeout_seconds: float | None = DEFAULT_EXECUTION_TIMEOUT,
        *,
        idempotency_key: str | None = None,
    ) -> ExecutionHandle:
        """Submit a code block and return a handle on its execution.

        Args:
            code_block_id: the code block.
            input_parameters: its parameters by name, a JSON object.
            config: settings of this execution, a JSON object that the code block can read; none if None.
            lifecycle_event: why the execution is run; `workflow` if None.
            ring_id: the ring whose runners take it; the client's, or `RING_ID`, if None.
            timeout_seconds: the platform ends the execution, with the status `timeout`, after so many seconds; 300 if
                None. It does not bound this call.
            idempotency_key: names the submission: another one with the same key starts no second execution. A new one
                for each call if None.

        Raises:
            ConfigurationError: there is no ring. Nothing was sent.
            InvalidRequestError: an argument cannot be used. Nothing was sent.
            PlatformClientError: as `PlatformClient` says.
        """
        event = "workflow" if lifecycle_event is None else lifecycle_event
        fields = {"input_parameters": input_parameters, **self._terms(config, event, ring_id, timeout_seconds)}
        return self._submit(
            operations.SUBMIT_CODE_BLOCK_EXECUTION, {"code_block_id": code_block_id}, fields, idempotency_key
        )

    def submit_workflow_execution(
        self,
        workflow_id: Identifier,
        input_data: JsonObject,
        config: JsonObject | None = None,
        lifecycle_event: str | None = "workflow",
        ring_id: Identifier | None = None,
        timeout_seconds: float | None = DEFAULT_EXECUTION_TIMEOUT,
        *,
        idempotency_key: str | None = None,
    ) -> ExecutionHandle:
        """Submit a workflow and return a handle on its execution.

        Args:
            workflow_id: the workflow.
            input_data: its input, a JSON object.
            config: settings of this execution, a JSON object that the workflow can read; none if None.
            lifecycle_event: why the execution is run; `workflow` if None.
            ring_id: the ring whose runners take it; the client's, or `RING_ID`, if None.
            timeout_seconds: the platform ends the execution, with the status `timeout`, after so many seconds; 300 if
                None. It does not bound this call.
            idempotency_key: names the submission: another one with the same key starts no second execution. A new one
                for each call if None.

        Raises:
            ConfigurationError: there is no ring. Nothing was sent.
            InvalidRequestError: an argument cannot be used. Nothing was sent.
            PlatformClientError: as `PlatformClient` says.
        """
        event = "workflow" if lifecycle_event is None else lifecycle_event
        fields = {"input_data": input_data, **self._terms(config, event, ring_id, timeout_seconds)}
        return self._submit(operations.SUBMIT_WORKFLOW_EXECUTION, {"workflow_id": workflow_id}, fields, idempotency_key)

    def submit_agent_execution(
        self,
        agent_id: Identifier,
        input_data: JsonObject,
        config: JsonObject | None = None,
        lifecycle_event: str | None = "agent_run",
        ring_id: Identifier | None = None,
        timeout_seconds: float | None = DEFAULT_EXECUTION_TIMEOUT,
        *,
        idempotency_key: str | None = None,
    ) -> ExecutionHandle:
        """Submit an agent and return a handle on its execution.

        Args:
            agent_id: the agent.
            input_data: its input, a JSON object.
            config: settings of this execution, a JSON object that the agent can read; none if None.
            lifecycle_event: why the execution is run; `agent_run` if None.
            ring_id: the ring whose runners take it; the client's, or `RING_ID`, if None.
            timeout_seconds: the platform ends the execution, with the status `timeout`, after so many seconds; 300 if
                None. It does not bound this call.
            idempotency_key: names the submission: another one with the same key starts no second execution. A new one
                for each call if None.

        Raises:
            ConfigurationError: there is no ring. Nothing was sent.
            InvalidRequestError: an argument cannot be used. Nothing was sent.
            PlatformClientError: as `PlatformClient` says.
        """
        event = "agent_run" if lifecycle_event is None else lifecycle_event
        fields = {"input_data": input_data, **self._terms(config, event, ring_id, timeout_seconds)}
        return self._submit(operations.SUBMIT_AGENT_EXECUTION, {"agent_id": agent_id}, fields, idempotency_key)

    def get_execution_status(self, execution_id: ExecutionReference) -> ExecutionRecord:
        """Return the execution's record as it is now.

        Args:
            execution_id: the execution: its id, or a handle on it.
        """
        return self._read_record(id_of(execution_id, self.settings)).value

    def cancel_execution(self, execution_id: ExecutionReference) -> ExecutionCancellation:
        """Ask for cancellation, best effort: the execution may still end otherwise.

        Args:
            execution_id: the execution: its id, or a handle on it.

        Returns:
            What the platform answered, in its own form; without any field when it answered nothing.
        """
        return self._call(operations.CANCEL_EXECUTION, {"execution_id": id_of(execution_id, self.settings)}).value

    def execute_transform(
        self,
        transform_id: Identifier,
        input_data: Any,
        context: JsonObject | None,  # noqa: ARG002 - the contract's signature: it is not sent
        caller_deployment_id: Identifier | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Any:
        """Run a transform on `input_data`, any JSON value, and return its result, any JSON value."""
        fields = {"input_data": input_data, **caller(caller_deployment_id)}
        return self._call(
            operations.EXECUTE_TRANSFORM, {"transform_id": transform_id}, fields, idempotency_key=idempotency_key
        ).value

    def get_service_skills(self, service_id: Identifier, *, version: int | str | None = None) -> JsonObject:
        """Return the skills object that a service publishes.

        Args:
            service_id: the service.
            version: a whole number, or text such as `1.2`; the newest if None.
        """
        if version is None:
            return self._call(operations.GET_SERVICE_SKILLS, {"service_id": service_id}).value
        ids = {"service_id": service_id, "version": version_text(version, "version")}
        return self._call(operations.GET_SERVICE_SKILLS_VERSION, ids).value

    def execution(self, execution_id: ExecutionReference) -> ExecutionHandle:
        """Return a handle on an execution that was submitted before; nothing is sent.

        Args:
            execution_id: the execution: its id, or another handle on it.
        """
        return ExecutionHandle(self, self._checked_id(execution_id))

    def await_execution_result(
        self,
        execution_id: ExecutionReference,
        *,
        timeout_seconds: float | None = DEFAULT_WAIT,
        poll_interval_seconds: float | None = None,
        not_found_retry_seconds: float = DEFAULT_NOT_FOUND_GRACE,
        on_interrupt: OnInterrupt = "detach",
    ) -> ExecutionRecord:
        """Wait for the end of an execution and return its terminal record, whatever its status.

        Args:
            execution_id: the execution: its id, or a handle on it.
            timeout_seconds: how long to wait; None for no limit. It does not bound the execution, which goes on.
            poll_interval_seconds: poll at this fixed pace, in place of long polls and a proportional schedule.
            not_found_retry_seconds: for how long a 404 may mean that the record cannot be seen yet.
            on_interrupt: what happens to the execution when the wait is interrupted, by Ctrl-C, `SystemExit` or
                whatever a signal handler raises: `detach` leaves it running, `cancel` asks for its cancellation, best
                effort, within 10 s. Either says so in one WARNING and in a note of the exception, which then goes on.

        Raises:
            ExecutionWaitTimeout: a `TimeoutError`; the time ran out.
            PlatformNotFoundError: there is no such execution.
        """
        checked = self._checked_id(execution_id)
        arguments = (
            math.inf if timeout_seconds is None else seconds(timeout_seconds, "timeout_seconds"),
            PollSchedule(interval=optional_seconds(poll_interval_seconds, "poll_interval_seconds")),
            seconds(not_found_retry_seconds, "not_found_retry_seconds", zero=True),
        )
        check_on_interrupt(on_interrupt)
        __tracebackhide__ = True
        try:
            return self._waiter.wait(checked, *arguments)
        except BaseException as error:
            if not isinstance(error, PlatformClientError):
                self._leave(checked, on_interrupt, error)
            trim_traceback(error)
            raise

    def execution_future(
        self, execution_id: ExecutionReference, *, timeout: float | None = None
    ) -> Future[ExecutionRecord]:
        """Return a future of the execution's terminal record, whatever its status, as `ExecutionHandle.future` does."""
        checked = self._checked_id(execution_id)
        limit = optional_seconds(timeout, "timeout")
        self._transport.check_open()
        self._load_hints()
        return self._futures.future(checked, limit)

    def _leave(self, execution_id: str, on_interrupt: OnInterrupt, interrupt: BaseException) -> None:
        """Say what becomes of an execution whose wait was interrupted, and ask for its cancellation if told to."""
        ending = "its cancellation is asked for" if on_interrupt == "cancel" else "it goes on"
        cause = "" if isinstance(interrupt, KeyboardInterrupt) else f" by {type(interrupt).__name__}"
        message = (
            f"the wait for execution {execution_id} was interrupted{cause}; {ending}: "
            f"take it up again with client.execution({execution_id!r}).wait()"
        )
        say_what_is_left(message, interrupt)
        if on_interrupt == "cancel":
            self._cancel_quietly(execution_id)

    def _cancel_quietly(self, execution_id: str) -> None:
        try:
            self._call(
                operations.CANCEL_EXECUTION, {"execution_id": execution_id}, timeout=CANCEL_TIMEOUT, max_attempts=1
            )
        except PlatformClientError as error:
            logger.debug("execution %s could not be cancelled: %s", execution_id, error)

    def _submit(
        self,
        operation: Operation[ExecutionAccepted],
        ids: dict[str, Identifier],
        fields: JsonObject,
        idempotency_key: str | None,
    ) -> ExecutionHandle:
        __tracebackhide__ = True
        reply = submission.send(partial(self._call, operation, ids, fields), idempotency_key, self.settings.timeout)
        return ExecutionHandle(self, reply.value.execution_id, reply.value, reply.idempotency_key)

    def _look(self, execution_id: str, *, hold: int, timeout: float) -> Look:
        """Read an execution's record once, held by the platform for up to `hold` seconds if it can do that."""
        headers = {"Prefer": f"wait={hold}"} if hold else {}
        reply = self._read_record(execution_id, headers=headers, timeout=timeout, max_attempts=1)
        return Look(reply.value, held="wait" in reply.headers.get("Preference-Applied", "").lower())

    def _read_record(self, execution_id: Identifier, **options: Any) -> Reply[ExecutionRecord]:
        reply = self._call(operations.GET_EXECUTION_STATUS, {"execution_id": execution_id}, **options)
        if not _is_same(reply.value.execution_id, str(execution_id)):
            raise PlatformResponseError(
                f"execution {execution_id} was asked for, and the platform answered with the record of "
                f"{shown(reply.value.execution_id)}",
                execution_id=str(execution_id),
                request_id=reply.headers.get("X-Request-Id"),
                status_code=operations.GET_EXECUTION_STATUS.success,
            )
        return reply

    def _checked_id(self, execution_id: ExecutionReference) -> str:
        return operations.GET_EXECUTION_STATUS.check("execution_id", id_of(execution_id, self.settings))


def _is_same(one: str, other: str) -> bool:
    """Return whether two ids name the same execution: a UUID can be written in several ways."""
    if one == other:
        return True
    try:
        return UUID(one) == UUID(other)
    except ValueError:
        return False


def check_on_interrupt(value: object) -> None:
    """Raise `InvalidRequestError` unless `value` says what an interrupt does to an execution."""
    if value not in ("detach", "cancel"):
        raise InvalidRequestError(f"on_interrupt is {value!r}; it must be 'detach' or 'cancel'")
