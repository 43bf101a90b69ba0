"""The client's methods that submit an execution and wait for its end (contract section 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from flow_client._api._generated import operations
from flow_client._client_core import DEFAULT_EXECUTION_TIMEOUT, caller
from flow_client._core.checks import seconds
from flow_client._core.synchronous import is_async
from flow_client._core.tracebacks import trim_traceback
from flow_client._operation_methods import OperationMethods, check_on_interrupt
from flow_client._waiting.wait import Ending, show
from flow_client.errors import ExecutionWaitTimeout, InvalidRequestError, PlatformExecutionError

if TYPE_CHECKING:
    from flow_client._client_core import Identifier, JsonObject
    from flow_client._waiting.wait import OnEvent
    from flow_client.executions import ExecutionHandle, OnInterrupt
    from flow_client.models import AgentCallResponse, ExecutionRecord


class DurableMethods(OperationMethods):
    """Submit and wait; `PlatformClient` says what all of them raise, and what is taken and not sent.

    With `check=True` a record that did not complete is an error, as for `subprocess.run`. `on_interrupt` says what
    happens to the execution when the wait is interrupted, as for `await_execution_result`.

    `on_event` is called with each `ExecutionEvent` that comes over NATS, in this thread, in order and once; all that
    were stored before the execution's end come before the record is returned. That NATS does not bring them is a
    WARNING and no error: the record comes over HTTP, at most 5 s later. What `on_event` raises ends the wait as Ctrl-C
    does, and comes out. Without a `nats_url` it is a `ConfigurationError`, and what is not callable an
    `InvalidRequestError`: nothing was submitted.
    """

    def execute_code_block(
        self,
        code_block_id: Identifier,
        input_parameters: JsonObject,
        context: JsonObject | None,
        scope: str = "workspace",  # noqa: ARG002 - see PlatformClient
        lifecycle_event: str | None = "workflow",
        timeout_seconds: float | None = DEFAULT_EXECUTION_TIMEOUT,
        caller_deployment_id: Identifier | None = None,  # noqa: ARG002 - see PlatformClient
        ring_id: Identifier | None = None,
        *,
        idempotency_key: str | None = None,
        check: bool = False,
        on_interrupt: OnInterrupt = "detach",
        on_event: OnEvent | None = None,
    ) -> ExecutionRecord:
        """Submit a code block with `context` as its config, wait, and return the terminal record, whatever its status.

        Args:
            code_block_id: the code block.
            input_parameters: its parameters by name, a JSON object.
            context: the settings of this execution, a JSON object that the code block can read as its config.
            scope: taken and not sent.
            lifecycle_event: why the execution is run; `workflow` if None.
            timeout_seconds: the platform ends the execution after so many seconds, and the wait ends with it; 300 if
                None.
            caller_deployment_id: taken and not sent.
            ring_id: the ring whose runners take the execution; the client's, or `RING_ID`, if None.
            idempotency_key: names the submission: another one with the same key starts no second execution.
            check: raise `PlatformExecutionError` unless it completed.
            on_interrupt: what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: called with each of the execution's events.

        Raises:
            PlatformExecutionError: `timeout_seconds` ran out; cancellation was asked for, best effort. With `check`
                also: it ended otherwise than `completed`.
        """
        budget = self._check_wait(timeout_seconds, on_interrupt, on_event)
        handle = self.submit_code_block_execution(
            *(code_block_id, input_parameters, context, lifecycle_event, ring_id, budget),
            idempotency_key=idempotency_key,
        )
        return self._finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

    def execute_workflow(
        self,
        workflow_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None = None,
        config: JsonObject | None = None,
        auto_deploy: bool = True,  # noqa: ARG002, FBT001, FBT002 - the contract's signature; see PlatformClient
        lifecycle_event: str | None = "workflow",
        caller_deployment_id: Identifier | None = None,  # noqa: ARG002 - see PlatformClient
        ring_id: Identifier | None = None,
        timeout_seconds: float | None = None,
        *,
        idempotency_key: str | None = None,
        check: bool = False,
        on_interrupt: OnInterrupt = "detach",
        on_event: OnEvent | None = None,
    ) -> ExecutionRecord:
        """Submit a workflow with `config`, else `context`, wait, and return the terminal record, whatever its status.

        Args:
            workflow_id: the workflow.
            input_data: its input, a JSON object.
            context: the config, if `config` is None.
            config: the settings of this execution, a JSON object that the workflow can read.
            auto_deploy: taken and not sent.
            lifecycle_event: why the execution is run; `workflow` if None.
            timeout_seconds: the platform ends the execution after so many seconds, and the wait ends with it; 300 if
                None.
            caller_deployment_id: taken and not sent.
            ring_id: the ring whose runners take the execution; the client's, or `RING_ID`, if None.
            idempotency_key: names the submission: another one with the same key starts no second execution.
            check: raise `PlatformExecutionError` unless it completed.
            on_interrupt: what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: called with each of the execution's events.

        Raises:
            PlatformExecutionError: `timeout_seconds` ran out; cancellation was asked for, best effort.
                With `check` also: it ended otherwise than `completed`.
        """
        budget = self._check_wait(timeout_seconds, on_interrupt, on_event)
        handle = self.submit_workflow_execution(
            *(workflow_id, input_data, context if config is None else config, lifecycle_event, ring_id, budget),
            idempotency_key=idempotency_key,
        )
        return self._finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

    @overload
    def execute_agent(
        self,
        agent_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None,
        execution_mode: Literal["inline"] = ...,
        caller_deployment_id: Identifier | None = ...,
        ring_id: Identifier | None = ...,
        timeout_seconds: float | None = ...,
        *,
        idempotency_key: str | None = ...,
        check: bool = ...,
        on_interrupt: OnInterrupt = ...,
        on_event: None = ...,
    ) -> AgentCallResponse: ...

    @overload
    def execute_agent(
        self,
        agent_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None,
        execution_mode: Literal["isolated"],
        caller_deployment_id: Identifier | None = ...,
        ring_id: Identifier | None = ...,
        timeout_seconds: float | None = ...,
        *,
        idempotency_key: str | None = ...,
        check: bool = ...,
        on_interrupt: OnInterrupt = ...,
        on_event: OnEvent | None = ...,
    ) -> ExecutionRecord: ...

    def execute_agent(
        self,
        agent_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None,
        execution_mode: Literal["inline", "isolated"] = "inline",
        caller_deployment_id: Identifier | None = None,
        ring_id: Identifier | None = None,
        timeout_seconds: float | None = DEFAULT_EXECUTION_TIMEOUT,
        *,
        idempotency_key: str | None = None,
        check: bool = False,
        on_interrupt: OnInterrupt = "detach",
        on_event: OnEvent | None = None,
    ) -> AgentCallResponse | ExecutionRecord:
        """Run an agent and return its answer (`inline`) or its execution's terminal record (`isolated`).

        Args:
            agent_id: the agent.
            input_data: its input, a JSON object.
            context: isolated, the settings of this execution, which the agent can read as its config. Inline, it is
                not sent.
            execution_mode: `inline` waits for the answer in one request; `isolated` submits an execution with a
                container of its own and waits for its end.
            caller_deployment_id: the deployment that calls. It is sent inline only.
            ring_id: isolated, the ring whose runners take the execution; the client's, or `RING_ID`, if None.
            timeout_seconds: inline, bounds the call whole. Isolated, the platform ends the execution after so many
                seconds, and the wait ends with it. 300 if None.
            idempotency_key: names the call: another one with the same key runs the agent no second time.
            check: isolated, raise `PlatformExecutionError` unless it completed.
            on_interrupt: isolated, what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: isolated, called with each of the execution's events.

        Raises:
            InvalidRequestError: `execution_mode` is another one, or `on_event` is given for an inline call, which has
                no events. Nothing was sent.
            PlatformExecutionError: isolated, and `timeout_seconds` ran out; cancellation was asked for, best effort.
                With `check` also: it ended otherwise than `completed`.
        """
        if execution_mode == "inline":
            _refuse_inline(on_event)
            fields = {"input_data": input_data, "execution_mode": execution_mode, **caller(caller_deployment_id)}
            return self._call(
                *(operations.EXECUTE_AGENT, {"agent_id": agent_id}, fields),
                idempotency_key=idempotency_key,
                timeout=_budget(timeout_seconds),
            ).value
        if execution_mode != "isolated":
            raise InvalidRequestError(f"execution_mode is {execution_mode!r}; it must be 'inline' or 'isolated'")
        budget = self._check_wait(timeout_seconds, on_interrupt, on_event)
        handle = self.submit_agent_execution(
            *(agent_id, input_data, context),
            ring_id=ring_id,
            timeout_seconds=budget,
            idempotency_key=idempotency_key,
        )
        return self._finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

    def _check_wait(self, timeout_seconds: float | None, on_interrupt: OnInterrupt, on_event: OnEvent | None) -> float:
        """Return the seconds to wait. Refuse what could not be done after the submission, before it."""
        budget = _budget(timeout_seconds)
        check_on_interrupt(on_interrupt)
        if on_event is not None:
            if not callable(on_event) or is_async(on_event):
                raise InvalidRequestError(f"on_event is {on_event!r}; it must be a plain function of an event")
            self._open_bridge()
        return budget

    def _finish(
        self,
        handle: ExecutionHandle,
        timeout_seconds: float,
        *,
        check: bool,
        on_interrupt: OnInterrupt,
        on_event: OnEvent | None,
    ) -> ExecutionRecord:
        __tracebackhide__ = True
        try:
            record = self._await(handle.execution_id, timeout_seconds, on_interrupt, on_event)
        except ExecutionWaitTimeout as timeout:
            self._cancel_quietly(handle.execution_id)
            raise PlatformExecutionError(
                f"{timeout}; its cancellation was asked for",
                execution_id=handle.execution_id,
                idempotency_key=handle.idempotency_key,
                elapsed=timeout.elapsed,
            ) from timeout.with_traceback(None)
        return record.raise_for_status(idempotency_key=handle.idempotency_key) if check else record

    def _await(
        self, execution_id: str, timeout_seconds: float, on_interrupt: OnInterrupt, on_event: OnEvent | None
    ) -> ExecutionRecord:
        __tracebackhide__ = True
        if on_event is None:
            return self.await_execution_result(execution_id, timeout_seconds=timeout_seconds, on_interrupt=on_interrupt)
        ending = Ending(execution_id, self._look, timeout_seconds)
        try:
            ending.start()
            events = self._open_bridge().events(execution_id, until=ending.future)
            show(events, on_event, ending, execution_id)
        except BaseException as error:  # on_event's own too: nobody waits any more
            self._leave(execution_id, on_interrupt, error)
            trim_traceback(error)
            raise
        finally:
            ending.leave()
        return ending.future.result()


def _budget(timeout_seconds: float | None) -> float:
    return seconds(DEFAULT_EXECUTION_TIMEOUT if timeout_seconds is None else timeout_seconds, "timeout_seconds")


def _refuse_inline(on_event: OnEvent | None) -> None:
    if on_event is not None:
        raise InvalidRequestError(
            "on_event cannot be used inline, where there is no execution to follow: pass execution_mode='isolated'"
        )
