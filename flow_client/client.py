"""The client of the platform."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from flow_client import config as configuration
from flow_client._api._generated import operations
from flow_client._batch import submission
from flow_client._core.checks import identifier, optional_seconds, seconds, version_text, whole_number
from flow_client._core.log import logger
from flow_client._core.profile import read_profile
from flow_client._core.synchronous import not_async
from flow_client._core.uninterrupted import load
from flow_client._http.optional import OptionalOperations
from flow_client._http.retry import Retrier
from flow_client._http.session import HttpSession
from flow_client._http.tokens import TokenStore
from flow_client._http.transport import Transport
from flow_client._waiting.execution_requests import ExecutionRequests
from flow_client._waiting.future_poller import FuturePoller
from flow_client._waiting.polling import DEFAULT_NOT_FOUND_GRACE, DEFAULT_WAIT, PollSchedule
from flow_client._waiting.wait import Wait, check_on_interrupt
from flow_client.errors import ClientClosedError, ConfigurationError, InvalidRequestError
from flow_client.executions import ExecutionHandle, component_of, id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from uuid import UUID

    import requests
    from typing_extensions import Self

    from flow_client._api.operation import Operation
    from flow_client._batch.counts import Batch
    from flow_client._waiting.completion_hints import CompletionHints
    from flow_client._waiting.stats import ClientStats
    from flow_client._waiting.wait import OnEvent
    from flow_client.bridge import NatsBridge
    from flow_client.config import Settings
    from flow_client.executions import ExecutionReference, OnInterrupt
    from flow_client.models import (
        AgentCallResponse,
        ExecutionAccepted,
        ExecutionCancellation,
        ExecutionEvent,
        ExecutionInput,
        ExecutionLogs,
        ExecutionRecord,
        ExecutionSummary,
    )

    Identifier = UUID | str
    JsonObject = dict[str, Any]

InputT = TypeVar("InputT")

DEFAULT_EXECUTION_TIMEOUT = 300
"""Seconds after which the platform ends an execution, unless its submission says otherwise."""
DEFAULT_IN_FLIGHT = 32
DEFAULT_PAGE_SIZE = 100
DEFAULT_PATIENCE = 300.0


class PlatformClient:
    """A blocking client of the Flow platform. Threads may share it, and it is a context manager.

    Every method that sends a request can raise these subclasses of `PlatformClientError`:

    * `InvalidRequestError`, `ConfigurationError`: an argument or a setting is not valid; nothing was sent.
    * `PlatformConnectionError`, `PlatformTimeoutError`: no complete answer arrived; `request_sent` and `stage` say how
      far the request got. Calling again with the error's `idempotency_key` cannot run a job twice.
    * `PlatformStatusError`: the platform answered with an error; its subclasses name the usual ones.
    * `PlatformResponseError`: the answer does not match the specification.
    * `ClientClosedError`: after `close()`.

    Ids are UUIDs, given as `UUID` or `str`; durations are seconds. `scope`, `auto_deploy` and, except for inline calls,
    `caller_deployment_id` are accepted for compatibility with the async client and ignored: the platform's API has no
    field for them. `idempotency_key` is generated for every POST unless the caller gives one.

    The `execute_…` methods submit and wait. With `check=True` an execution that does not complete is an error, as for
    `subprocess.run`. `on_interrupt` says what happens to the execution when the wait is interrupted, as for
    `await_execution_result`. `on_event` is called in this thread with each `ExecutionEvent`, once and in order; all
    events that were stored before the execution ended are shown before the record is returned. If NATS cannot deliver
    them, a WARNING is logged and the record still arrives over HTTP, at most 5 s later. An exception from `on_event`
    ends the wait like Ctrl-C and propagates. Without a `nats_url`, `on_event` raises `ConfigurationError`; if it is not
    a plain function, `InvalidRequestError`. Nothing is submitted then.
    """

    def __init__(
        self,
        base_url: str | None = None,
        auth_token: str | Callable[[], str] | None = None,
        org_id: Identifier | None = None,
        workspace_id: Identifier | None = None,
        timeout: float | None = None,
        on_auth_token_refresh: Callable[[str], object] | None = None,
        *,
        ring_id: Identifier | None = None,
        nats_url: str | None = None,
        max_attempts: int = configuration.DEFAULT_MAX_ATTEMPTS,
        max_answer_bytes: int = configuration.DEFAULT_MAX_ANSWER_BYTES,
        max_polls_per_second: float = configuration.DEFAULT_MAX_POLLS_PER_SECOND,
        session: requests.Session | None = None,
        profile: str | None = None,
    ) -> None:
        """Read the settings from the arguments, else from the environment, else from a profile.

        An empty variable counts as unset. Profiles are tables in `~/.config/flow-client/config.toml`; docs/client.md
        describes them.

        Args:
            base_url: the API's URL, else `PLATFORM_API_URL`.
            auth_token: the JWT, else `AUTH_TOKEN`, or else what the file `AUTH_TOKEN_FILE` holds or the command
                `AUTH_TOKEN_COMMAND` prints; or a function that returns one. File, command and function are asked now
                and again after a 401.
            org_id: the organisation, else `ORG_ID`.
            workspace_id: the workspace, else `WORKSPACE_ID`.
            timeout: seconds for one whole operation, including retries, else `PLATFORM_TIMEOUT_SECONDS`, else 300. It
                does not bound a wait for an execution, nor the execution.
            on_auth_token_refresh: called with each token that the platform renews.
            ring_id: the default ring of submissions, else `RING_ID`.
            nats_url: NATS server(s), comma-separated, else `NATS_URL`; used by the NATS methods, by `on_event`, and to
                learn when executions with a future have finished.
            max_attempts: how many times one operation is tried.
            max_answer_bytes: the size limit on one answer, in bytes.
            max_polls_per_second: limit on the requests a second of all futures together, and of `map`, submissions
                included. Below it the rate adapts to the platform.
            session: a `requests.Session` of your own to send through, with its mounted adapters, hooks, headers,
                `params`, `proxies`, `verify` and `cert`. Its `auth` and cookies are not used, nor is `~/.netrc`:
                `Authorization` is always the token. Redirects are not followed, and the client's own headers win. An
                adapter of your own gets what is left of `timeout` for each attempt, and how it uses that is up to it.
                The client does not close the session.
            profile: the name of the profile, else `FLOW_PROFILE`, else `default`.

        Raises:
            ConfigurationError: a setting is missing or not valid, or there is no such profile. Nothing has been sent.
        """
        auth_token = configuration.hidden(auth_token)
        configuration.check_callback(on_auth_token_refresh)
        chosen = read_profile(profile)
        settings = configuration.resolve(
            base_url,
            org_id,
            workspace_id,
            timeout,
            ring_id=ring_id,
            nats_url=nats_url,
            max_attempts=max_attempts,
            max_answer_bytes=max_answer_bytes,
            max_polls_per_second=max_polls_per_second,
            profile=chosen,
        )
        tokens = TokenStore(configuration.resolve_token(auth_token, chosen), on_auth_token_refresh)
        self._owns_shared = True
        self._bind(settings, _Shared(settings, tokens, session))

    def _bind(self, settings: Settings, shared: _Shared) -> None:
        """Work with these settings, on what is shared by a client and its copies."""
        self.settings = settings
        self._transport = Transport(settings, shared.tokens, shared.session, shared.retrier)
        self._requests = ExecutionRequests(self._transport)
        self._wait = Wait(self._requests.poll, self._requests.cancel, shared.bridge.open)
        self._shared = shared

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
            config: settings for this execution, a JSON object that the code block can read; empty if None.
            lifecycle_event: why the execution is run; `workflow` if None.
            ring_id: the ring whose runners execute it; the client's if None.
            timeout_seconds: after this many seconds the platform ends the execution with the status `timeout`; 300 if
                None. It does not bound this call.
            idempotency_key: identifies the submission: submitting again with the same key does not start a second
                execution. Generated for each call if None.

        Raises:
            ConfigurationError: no ring is given. Nothing was sent.
            InvalidRequestError: an argument is not valid. Nothing was sent.
            PlatformClientError: see `PlatformClient`.
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
            config: settings for this execution, a JSON object that the workflow can read; empty if None.
            lifecycle_event: why the execution is run; `workflow` if None.
            ring_id: the ring whose runners execute it; the client's if None.
            timeout_seconds: after this many seconds the platform ends the execution with the status `timeout`; 300 if
                None. It does not bound this call.
            idempotency_key: identifies the submission: submitting again with the same key does not start a second
                execution. Generated for each call if None.

        Raises:
            ConfigurationError: no ring is given. Nothing was sent.
            InvalidRequestError: an argument is not valid. Nothing was sent.
            PlatformClientError: see `PlatformClient`.
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
            config: settings for this execution, a JSON object that the agent can read; empty if None.
            lifecycle_event: why the execution is run; `agent_run` if None.
            ring_id: the ring whose runners execute it; the client's if None.
            timeout_seconds: after this many seconds the platform ends the execution with the status `timeout`; 300 if
                None. It does not bound this call.
            idempotency_key: identifies the submission: submitting again with the same key does not start a second
                execution. Generated for each call if None.

        Raises:
            ConfigurationError: no ring is given. Nothing was sent.
            InvalidRequestError: an argument is not valid. Nothing was sent.
            PlatformClientError: see `PlatformClient`.
        """
        event = "agent_run" if lifecycle_event is None else lifecycle_event
        fields = {"input_data": input_data, **self._terms(config, event, ring_id, timeout_seconds)}
        return self._submit(operations.SUBMIT_AGENT_EXECUTION, {"agent_id": agent_id}, fields, idempotency_key)

    def get_execution_status(self, execution_id: ExecutionReference) -> ExecutionRecord:
        """Return the execution's current record.

        Args:
            execution_id: the execution: its id, or a handle on it.
        """
        return self._requests.read(id_of(execution_id, self.settings))

    def cancel_execution(self, execution_id: ExecutionReference) -> ExecutionCancellation:
        """Ask for cancellation, best effort: the execution may still end otherwise.

        Args:
            execution_id: the execution: its id, or a handle on it.

        Returns:
            The platform's answer, whatever its form; it has no fields if the platform sent no body.
        """
        return self._requests.cancel(id_of(execution_id, self.settings))

    def list_executions(
        self,
        *,
        status: str | Collection[str] | None = None,
        kind: str | None = None,
        component_id: Identifier | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
    ) -> Iterator[ExecutionSummary]:
        """Return an iterator over the workspace's executions, the newest first.

            for execution in itertools.islice(client.list_executions(status="failed"), 10):
                print(execution.execution_id, execution.component, execution.created_at)

        Pages are read as you iterate. An execution that is submitted meanwhile does not appear, and none appears twice.

        Args:
            status: list only executions with this status, or with one of these.
            kind: list only executions of this kind of component, such as `workflow`.
            component_id: list only executions of the component with this id.
            page_size: how many executions one request reads.

        Raises:
            InvalidRequestError: an argument is not valid. Nothing was sent.
            PlatformUnsupportedError: while you iterate; this platform does not list executions.
            PlatformClientError: while you iterate; see `PlatformClient`.
        """
        query = {
            "status": _texts(status, "status"),
            "kind": _texts(kind, "kind"),
            "component_id": _texts(component_id, "component_id"),
            "limit": whole_number(page_size, "page_size", InvalidRequestError),
        }
        return OptionalOperations(self._transport).executions(query)

    def get_execution_logs(self, execution_id: ExecutionReference) -> ExecutionLogs:
        """Return the end of what an execution has printed, also while it runs.

        Args:
            execution_id: the execution: its id, or a handle on it.

        Raises:
            PlatformUnsupportedError: this platform does not show logs.
            PlatformClientError: see `PlatformClient`.
        """
        return OptionalOperations(self._transport).logs(id_of(execution_id, self.settings))

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
            scope: accepted and ignored.
            lifecycle_event: why the execution is run; `workflow` if None.
            timeout_seconds: after this many seconds the platform ends the execution, and the wait ends too; 300 if
                None.
            caller_deployment_id: accepted and ignored.
            ring_id: the ring whose runners execute it; the client's if None.
            idempotency_key: identifies the submission: submitting again with the same key does not start a second
                execution.
            check: raise `PlatformExecutionError` unless it completed.
            on_interrupt: what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: called with each of the execution's events.

        Raises:
            PlatformExecutionError: `timeout_seconds` ran out; cancellation was asked for, best effort. With `check`,
                also if the execution did not complete.
        """
        budget = _execution_seconds(timeout_seconds)
        self._wait.check(on_interrupt, on_event)
        handle = self.submit_code_block_execution(
            code_block_id,
            input_parameters,
            context,
            lifecycle_event,
            ring_id,
            budget,
            idempotency_key=idempotency_key,
        )
        return self._wait.finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

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
            auto_deploy: accepted and ignored.
            lifecycle_event: why the execution is run; `workflow` if None.
            timeout_seconds: after this many seconds the platform ends the execution, and the wait ends too; 300 if
                None.
            caller_deployment_id: accepted and ignored.
            ring_id: the ring whose runners execute it; the client's if None.
            idempotency_key: identifies the submission: submitting again with the same key does not start a second
                execution.
            check: raise `PlatformExecutionError` unless it completed.
            on_interrupt: what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: called with each of the execution's events.

        Raises:
            PlatformExecutionError: `timeout_seconds` ran out; cancellation was asked for, best effort. With `check`,
                also if the execution did not complete.
        """
        budget = _execution_seconds(timeout_seconds)
        self._wait.check(on_interrupt, on_event)
        handle = self.submit_workflow_execution(
            workflow_id,
            input_data,
            context if config is None else config,
            lifecycle_event,
            ring_id,
            budget,
            idempotency_key=idempotency_key,
        )
        return self._wait.finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

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
            ring_id: isolated, the ring whose runners execute it; the client's if None.
            timeout_seconds: inline, bounds the whole call. Isolated, after this many seconds the platform ends the
                execution, and the wait ends too. 300 if None.
            idempotency_key: identifies the call: calling again with the same key does not run the agent a second time.
            check: isolated, raise `PlatformExecutionError` unless it completed.
            on_interrupt: isolated, what Ctrl-C does to the execution, `detach` or `cancel`.
            on_event: isolated, called with each of the execution's events.

        Raises:
            InvalidRequestError: `execution_mode` is neither of the two, or `on_event` is given for an inline call,
                which has no events. Nothing was sent.
            PlatformExecutionError: isolated, and `timeout_seconds` ran out; cancellation was asked for, best effort.
                With `check`, also if the execution did not complete.
        """
        budget = _execution_seconds(timeout_seconds)
        if execution_mode == "inline":
            _refuse_inline(on_event)
            fields = {"input_data": input_data, "execution_mode": execution_mode, **_caller(caller_deployment_id)}
            return self._transport.call(
                operations.EXECUTE_AGENT,
                {"agent_id": agent_id},
                fields,
                idempotency_key=idempotency_key,
                timeout=budget,
            ).value
        if execution_mode != "isolated":
            raise InvalidRequestError(f"execution_mode is {execution_mode!r}; it must be 'inline' or 'isolated'")
        self._wait.check(on_interrupt, on_event)
        handle = self.submit_agent_execution(
            agent_id,
            input_data,
            context,
            ring_id=ring_id,
            timeout_seconds=budget,
            idempotency_key=idempotency_key,
        )
        return self._wait.finish(handle, budget, check=check, on_interrupt=on_interrupt, on_event=on_event)

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
        fields = {"input_data": input_data, **_caller(caller_deployment_id)}
        return self._transport.call(
            operations.EXECUTE_TRANSFORM, {"transform_id": transform_id}, fields, idempotency_key=idempotency_key
        ).value

    def get_service_skills(self, service_id: Identifier, *, version: int | str | None = None) -> JsonObject:
        """Return the skills object that a service publishes.

        Args:
            service_id: the service.
            version: a whole number, or text such as `1.2`; the newest if None.
        """
        if version is None:
            return self._transport.call(operations.GET_SERVICE_SKILLS, {"service_id": service_id}).value
        ids = {"service_id": service_id, "version": version_text(version, "version")}
        return self._transport.call(operations.GET_SERVICE_SKILLS_VERSION, ids).value

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
            poll_interval_seconds: poll at this fixed interval, instead of long polls and a proportional schedule.
            not_found_retry_seconds: seconds for which a 404 is taken to mean that the record is not visible yet.
            on_interrupt: what happens to the execution when the wait is interrupted by Ctrl-C, `SystemExit` or an
                exception from a signal handler: `detach` leaves it running, `cancel` asks for its cancellation, best
                effort, within 10 s. Either way one WARNING says so, the exception gets a note, and it propagates.

        Raises:
            ExecutionWaitTimeout: a `TimeoutError`; the time ran out.
            PlatformNotFoundError: there is no such execution.
        """
        __tracebackhide__ = True
        checked = self._checked_id(execution_id)
        timeout = math.inf if timeout_seconds is None else seconds(timeout_seconds, "timeout_seconds")
        schedule = PollSchedule(interval=optional_seconds(poll_interval_seconds, "poll_interval_seconds"))
        grace = seconds(not_found_retry_seconds, "not_found_retry_seconds", zero=True)
        check_on_interrupt(on_interrupt)
        return self._wait.until_ended(checked, timeout, schedule, grace, on_interrupt=on_interrupt)

    def execution_future(
        self, execution_id: ExecutionReference, *, timeout: float | None = None
    ) -> Future[ExecutionRecord]:
        """Return a future of the execution's terminal record, whatever its status, as `ExecutionHandle.future` does."""
        checked = self._checked_id(execution_id)
        limit = optional_seconds(timeout, "timeout")
        self._transport.check_open()
        load("flow_client._waiting.dispatcher")
        self._shared.bridge.preload()
        return self._shared.futures.future(checked, limit, component_of(execution_id))

    @overload
    def map(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[InputT],
        *,
        max_in_flight: int = ...,
        key: str | Callable[[InputT], str] | None = ...,
        timeout: float | None = ...,
        patience: float = ...,
        retry_failed: bool = ...,
        return_exceptions: Literal[False] = ...,
        with_inputs: Literal[False] = ...,
        progress: bool = ...,
    ) -> Batch[ExecutionRecord]: ...

    @overload
    def map(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[InputT],
        *,
        max_in_flight: int = ...,
        key: str | Callable[[InputT], str] | None = ...,
        timeout: float | None = ...,
        patience: float = ...,
        retry_failed: bool = ...,
        return_exceptions: bool,
        with_inputs: Literal[False] = ...,
        progress: bool = ...,
    ) -> Batch[ExecutionRecord | Exception]: ...

    @overload
    def map(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[InputT],
        *,
        max_in_flight: int = ...,
        key: str | Callable[[InputT], str] | None = ...,
        timeout: float | None = ...,
        patience: float = ...,
        retry_failed: bool = ...,
        return_exceptions: Literal[False] = ...,
        with_inputs: Literal[True],
        progress: bool = ...,
    ) -> Batch[tuple[InputT, ExecutionRecord]]: ...

    @overload
    def map(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[InputT],
        *,
        max_in_flight: int = ...,
        key: str | Callable[[InputT], str] | None = ...,
        timeout: float | None = ...,
        patience: float = ...,
        retry_failed: bool = ...,
        return_exceptions: bool,
        with_inputs: Literal[True],
        progress: bool = ...,
    ) -> Batch[tuple[InputT, ExecutionRecord | Exception]]: ...

    def map(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[InputT],
        *,
        max_in_flight: int = DEFAULT_IN_FLIGHT,
        key: str | Callable[[InputT], str] | None = None,
        timeout: float | None = None,
        patience: float = DEFAULT_PATIENCE,
        retry_failed: bool = False,
        return_exceptions: bool = False,
        with_inputs: bool = False,
        progress: bool = False,
    ) -> Batch[Any]:
        """Submit an execution for each input, a bounded number at a time, and yield the records in the inputs' order.

        For example::

            count = partial(client.submit_code_block_execution, "count-words", ring_id="ring-1", timeout_seconds=3600)
            for record in client.map(count, ({"text": text} for text in texts), key="nightly-2026-11-23"):
                print(record.raise_for_status().output)

        The platform ends each execution after the `timeout_seconds` of its submission: 300 s unless `submit` sets
        another limit, as above.

        Inputs are submitted lazily, only while you iterate. Leaving early, by Ctrl-C, an error or `close()`, stops the
        submitting and logs which executions are still in flight; they go on. An exception from a signal handler ends
        the map too, wherever it is raised.

        A submission that fails with a transient error (connection refused or lost, timeout, 408, 429, 5xx) is sent
        again under the same idempotency key. The pauses grow and are shared by all inputs; meanwhile the executions in
        flight are polled and their records yielded. Until the platform has answered once, a refused connection is more
        likely a wrong URL: it is tried as often as any other call, then raised.

        Args:
            submit: called with each input, returns its handle: a submit method of the client, or a function that calls
                one. With `key` it is also given `idempotency_key=…`, if it takes that, and has to pass it on. It may be
                called several times for one input; its first submission has the same key each time.
            inputs: any iterable, even an endless one: it is read as executions finish.
            max_in_flight: limit on the executions that are submitted and unfinished. Up to four times as many may be
                submitted and not yet yielded, if the first of them takes long.
            key: names this batch. The idempotency keys derive from it and the input's position: if a script dies and is
                run again with the same key and inputs, it resumes the executions of its first run and starts none
                twice, for as long as the platform remembers keys. Or a function that returns a different string for
                each input: the keys derive from that alone, so inputs may be added, removed and reordered. Include a
                date or a run's name in either: yesterday's key returns yesterday's results.
            timeout: seconds to wait for each execution after its submission; None for no limit. It bounds neither the
                execution nor the batch.
            patience: seconds for which submissions are retried. A submission is given up when it, or every submission,
                has failed for that long.
            retry_failed: if an input's execution of an earlier run did not complete, run it once more, under a key that
                also derives from `key`. What fails in this run is yielded, and run again by the next. Keep it set in a
                script: without it the first execution of each input counts.
            return_exceptions: yield an input's error in its place and go on. Otherwise it is raised there and ends the
                map.
            with_inputs: yield pairs of the input and its record.
            progress: show a progress bar of the executions that have ended, in a notebook or on standard error if that
                is a terminal. It needs the extra `progress`.

        Returns:
            A generator of the records, whose `counts` say at any time how many executions were started, resumed and
            completed.

        Raises:
            InvalidRequestError: an argument is not valid. At its place: `submit` did not pass the key on or returned no
                handle, or the key function returned no string, or the same one for two inputs.
            ConfigurationError: `progress` needs tqdm. Nothing has been submitted.
            ExecutionWaitTimeout: at its place, an execution that did not end within `timeout`.
            PlatformBadRequestError: at its place, an input that the platform refuses; it says so if an earlier run
                submitted another input under the same key.
            PlatformConnectionError: nobody answered from the start, with `return_exceptions` too.
            PlatformClientError: at its place, an input that could not be submitted or waited for.
        """
        load("flow_client._batch.opening")
        from flow_client._batch.opening import open_batch  # noqa: PLC0415 - loaded by those who map

        return open_batch(
            submit,
            inputs,
            key=key,
            patience=seconds(patience, "patience", zero=True),
            first_attempts=self.settings.max_attempts,
            pace=self._shared.futures.pace,
            progress=progress,
            max_in_flight=max_in_flight,
            timeout=optional_seconds(timeout, "timeout"),
            return_exceptions=return_exceptions,
            with_inputs=with_inputs,
            retry_failed=retry_failed,
        )

    def fetch_execution_input(self, deployment_id: UUID | str | None, execution_id: UUID | str) -> ExecutionInput:
        """Take the execution's input, as `NatsBridge.fetch_execution_input` does."""
        return self._open_bridge().fetch_execution_input(deployment_id, execution_id)

    def push_execution_output(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        output: Any,
        usage: Any = None,
        messages: Any = None,
        state: Any = None,
        error: Any = None,
    ) -> None:
        """Push the execution's output, as `NatsBridge.push_execution_output` does."""
        self._open_bridge().push_execution_output(deployment_id, execution_id, output, usage, messages, state, error)

    def push_execution_event(
        self, deployment_id: UUID | str | None, execution_id: UUID | str, event_type: str, event_data: Any
    ) -> None:
        """Take an event of the execution and return at once, as `NatsBridge.push_execution_event` does."""
        self._open_bridge().push_execution_event(deployment_id, execution_id, event_type, event_data)

    def publish_execution_status(self, execution_id: UUID | str, status: str) -> None:
        """Publish the execution's status, as `NatsBridge.publish_execution_status` does."""
        self._open_bridge().publish_execution_status(execution_id, status)

    def execution_events(self, execution_id: ExecutionReference, from_sequence: int = 1) -> Iterator[ExecutionEvent]:
        """Follow the events of an execution, given by its id or a handle on it, as `NatsBridge.events` does."""
        return self._open_bridge().events(id_of(execution_id, self.settings), from_sequence)

    def with_options(self, *, timeout: float | None = None, max_attempts: int | None = None) -> Self:
        """Return a copy with other limits that shares connections, tokens, retry budget and NATS bridge.

        A copy costs next to nothing, also of a copy. Closing the copy leaves the shared connections and futures open;
        closing the original closes all its copies.

        Args:
            timeout: seconds for one whole operation; the original's if None.
            max_attempts: how often one operation is tried; the original's if None.

        Raises:
            ConfigurationError: a value is not valid.
            ClientClosedError: the client is closed.
        """
        self._transport.check_open()
        other = type(self).__new__(type(self))
        vars(other).update(vars(self), _owns_shared=False)  # with what a subclass has added
        PlatformClient._bind(other, self.settings.with_options(timeout, max_attempts), self._shared)
        return other

    def stats(self) -> ClientStats:
        """Return how the futures of this client and its copies are polled at this moment; no request is sent."""
        return self._shared.futures.stats()

    def refresh_environment(self) -> None:
        """Read proxies and CA bundles from the environment again: they are read once, at the first request."""
        self._transport.refresh_environment()

    def close(self) -> None:
        """Close HTTP and NATS. Can be called twice. Futures that are pending fail with `ClientClosedError`.

        Raises:
            UndeliveredError: NATS messages could not be delivered and were given up; see `NatsBridge.close`.
        """
        self._close()

    def aclose(self) -> None:
        """Close as `close()` does: the name that it has in the async client."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(quietly=error is not None)

    if not TYPE_CHECKING:  # a type checker shall find them missing

        def __aenter__(self) -> NoReturn:
            raise not_async("write `with` in place of `async with`")

        __aexit__ = __aenter__

    def __repr__(self) -> str:
        # A traceback may show a client whose settings were refused.
        settings = getattr(self, "settings", None)
        return f"PlatformClient({settings.base_url if settings else None!r})"

    def _close(self, *, quietly: bool = False) -> None:
        try:
            if self._owns_shared:
                self._shared.close(quietly=quietly)
        finally:
            self._transport.close()

    def _submit(
        self,
        operation: Operation[ExecutionAccepted],
        ids: dict[str, Identifier],
        fields: JsonObject,
        idempotency_key: str | None,
    ) -> ExecutionHandle:
        __tracebackhide__ = True
        call = partial(self._transport.call, operation, ids, fields)
        reply = submission.send(call, idempotency_key, self.settings.timeout)
        component = "/".join((operation.operation_id, *map(str, ids.values())))
        return ExecutionHandle(self, reply.value.execution_id, reply.value, reply.idempotency_key, component)

    def _terms(
        self,
        config: JsonObject | None,
        lifecycle_event: str,
        ring_id: Identifier | None,
        timeout_seconds: float | None,
    ) -> JsonObject:
        """Return the fields of a submission beside its input."""
        return {
            "config": {} if config is None else config,
            "lifecycle_event": lifecycle_event,
            "ring_id": self._ring(ring_id),
            "timeout_seconds": _execution_seconds(timeout_seconds),
        }

    def _ring(self, ring_id: Identifier | None) -> str:
        if ring_id is not None:
            return identifier(ring_id, "ring_id", InvalidRequestError)
        if self.settings.ring_id is not None:
            return self.settings.ring_id
        raise ConfigurationError(
            "a submission needs a ring: pass ring_id=… to the call or to the client, or set RING_ID"
        )

    def _checked_id(self, execution_id: ExecutionReference) -> str:
        return operations.GET_EXECUTION_STATUS.check("execution_id", id_of(execution_id, self.settings))

    def _open_bridge(self) -> NatsBridge:
        self._transport.check_open()
        return self._shared.bridge.open()


class _Shared:
    """What a client and its copies share. The original closes it, once for all of them.

    Args:
        settings: the original's.
        tokens: the token and its renewal.
        session: the caller's own session, if there is one.
    """

    def __init__(self, settings: Settings, tokens: TokenStore, session: requests.Session | None) -> None:
        self.tokens = tokens
        self.session = HttpSession(settings.base_url, settings.max_answer_bytes, session)
        self.retrier = Retrier()
        self.bridge = _LazyBridge(settings.nats_url)
        requests = ExecutionRequests(Transport(settings, tokens, self.session, self.retrier))
        self.futures = FuturePoller(requests.poll, self.bridge.open_hints, settings.max_polls_per_second)

    def close(self, *, quietly: bool) -> None:
        self.futures.close()
        try:
            self.bridge.close(quietly=quietly)
        finally:
            self.session.close()


class _LazyBridge:
    """A bridge that is opened at first use: a script that speaks HTTP alone loads no NATS and starts no thread.

    Args:
        nats_url: the NATS servers, None without any.
    """

    def __init__(self, nats_url: str | None) -> None:
        self._nats_url = nats_url
        # One at the most; it is put in and taken out in one step each, since a signal handler may call in between.
        self._bridges: dict[str, NatsBridge] = {}
        self._closed = False
        self._hints_failed = False

    @property
    def opened(self) -> NatsBridge | None:
        """The bridge, None before the first use."""
        return self._bridges.get("bridge")

    def open(self) -> NatsBridge:
        """Return the bridge, made at first use.

        Raises:
            ConfigurationError: there is no NATS server.
            ClientClosedError: it was closed.
        """
        self._check_open()
        bridge = self.opened or self._make()
        self._check_open()  # `close` may have come before there was a bridge to close
        return bridge

    def preload(self) -> None:
        """Import NATS in the caller's thread, if it is to be used."""
        if self._nats_url is not None:
            load("flow_client.bridge")

    def open_hints(self) -> CompletionHints | None:
        """Return the bridge's hints, None without NATS. No future fails for want of them."""
        if self._nats_url is None or self._hints_failed:
            return None
        try:
            return self.open().hints
        except ClientClosedError:
            return None
        except Exception as error:  # noqa: BLE001 - see above
            self._hints_failed = True
            logger.warning(
                "cannot listen for finished executions over NATS; futures fall back to HTTP polling: %s", error
            )
            return None

    def close(self, *, quietly: bool) -> None:
        """Close the bridge; if `quietly`, log what that raises."""
        self._closed = True
        bridge = self.opened
        if bridge is not None and quietly:
            bridge.close_quietly("at the end of a block that failed")
        elif bridge is not None:
            bridge.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the client was closed; create a new one")

    def _make(self) -> NatsBridge:
        self.preload()
        from flow_client.bridge import NatsBridge  # noqa: PLC0415 - as above

        # Threads may make one each. The first is taken; the others were never used and have nothing to close.
        return self._bridges.setdefault("bridge", NatsBridge(self._nats_url))


def _texts(given: object, name: str) -> list[str]:
    """Return what a parameter of a list says as texts: none, one or several are given."""
    several = given if isinstance(given, (list, tuple, set, frozenset)) else [given]
    return [identifier(each, name, InvalidRequestError) for each in several if each is not None]


def _caller(deployment_id: Identifier | None) -> JsonObject:
    """Return the field that names the calling deployment."""
    return {"caller_deployment_id": None if deployment_id is None else str(deployment_id)}


def _execution_seconds(timeout_seconds: float | None) -> float:
    return seconds(DEFAULT_EXECUTION_TIMEOUT if timeout_seconds is None else timeout_seconds, "timeout_seconds")


def _refuse_inline(on_event: OnEvent | None) -> None:
    if on_event is not None:
        raise InvalidRequestError(
            "on_event cannot be used inline, where there is no execution to follow: pass execution_mode='isolated'"
        )
