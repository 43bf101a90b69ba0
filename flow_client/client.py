"""The client of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_client import config as configuration
from flow_client._auth import TokenStore
from flow_client._bridge_methods import BridgeMethods
from flow_client._client_core import caller, seconds
from flow_client._generated import operations
from flow_client._log import logger
from flow_client._operation_methods import OperationMethods
from flow_client._waiting import DEFAULT_WAIT
from flow_client.errors import ExecutionWaitTimeout, InvalidRequestError, PlatformClientError, PlatformExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from flow_client._client_core import Identifier, JsonObject
    from flow_client.executions import ExecutionHandle
    from flow_client.models import AgentCallResponse, ExecutionRecord

CANCEL_TIMEOUT = 10.0
"""Seconds for the cancellation of an execution whose wait ran out of time."""


class PlatformClient(OperationMethods, BridgeMethods):
    """A blocking client of the Flow platform (contract section 1). Threads may share it; it is a context manager.

    Every method that sends raises these, all of them `PlatformClientError`:

    * `InvalidRequestError`, `ConfigurationError`: an argument or a setting cannot be used; nothing was sent.
    * `PlatformConnectionError`, `PlatformTimeoutError`: no whole answer came; `request_sent` and `stage` say how far
      it went, and calling again with the error's `idempotency_key` cannot run a job twice.
    * `PlatformStatusError`: the platform answered with an error; its subclasses name the usual ones.
    * `PlatformResponseError`: the answer is not what the contract says.
    * `ClientClosedError`: after `close()`.

    Ids are UUIDs, given as `UUID` or `str`; durations are seconds. `scope`, `auto_deploy` and, but for inline calls,
    `caller_deployment_id` are taken for the sake of callers of the async client: the platform's API has no place for
    them. `idempotency_key` is minted for every POST unless the caller gives one.
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
        nats_url: str | None = None,
        max_attempts: int = configuration.DEFAULT_MAX_ATTEMPTS,
        max_answer_bytes: int = configuration.DEFAULT_MAX_ANSWER_BYTES,
    ) -> None:
        """Take the settings from the arguments, else from the environment; an empty variable counts as unset.

        Args:
            base_url: the API's URL, else `PLATFORM_API_URL`.
            auth_token: the JWT, else `AUTH_TOKEN`; or a function that returns one, asked now and again after a 401.
            org_id: the organisation, else `ORG_ID`.
            workspace_id: the workspace, else `WORKSPACE_ID`.
            timeout: seconds for one operation whole, retries and all, else `PLATFORM_TIMEOUT_SECONDS`, else 300.
                It does not bound a wait for an execution, nor the execution.
            on_auth_token_refresh: called with a token that the platform renewed.
            nats_url: NATS server(s), comma-separated, else `NATS_URL`; used by the NATS methods alone.
            max_attempts: how often one operation is tried.
            max_answer_bytes: the largest answer that is read.

        Raises:
            ConfigurationError: a setting is missing or unusable. Nothing has been sent.
        """
        auth_token = configuration.hidden(auth_token)
        settings = configuration.resolve(
            *(base_url, org_id, workspace_id, timeout),
            nats_url=nats_url,
            max_attempts=max_attempts,
            max_answer_bytes=max_answer_bytes,
        )
        tokens = TokenStore(configuration.resolve_token(auth_token), on_auth_token_refresh)
        OperationMethods.__init__(self, settings, tokens)
        BridgeMethods.__init__(self, settings.nats_url)

    def execute_code_block(
        self,
        code_block_id: Identifier,
        input_parameters: JsonObject,
        context: JsonObject | None,
        scope: str = "workspace",  # noqa: ARG002 - see the class
        lifecycle_event: str = "workflow",
        timeout_seconds: float = 300,
        caller_deployment_id: Identifier | None = None,  # noqa: ARG002 - see the class
        ring_id: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ExecutionRecord:
        """Submit a code block with `context` as its config, wait, and return the terminal record, whatever its status.

        Raises:
            PlatformExecutionError: `timeout_seconds` ran out; cancellation was asked for, best effort.
        """
        handle = self.submit_code_block_execution(
            *(code_block_id, input_parameters, context, lifecycle_event, ring_id, timeout_seconds),
            idempotency_key=idempotency_key,
        )
        return self._await_or_cancel(handle, timeout_seconds)

    def execute_workflow(
        self,
        workflow_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None = None,
        config: JsonObject | None = None,
        auto_deploy: bool = True,  # noqa: ARG002, FBT001, FBT002 - the contract's signature; see the class
        lifecycle_event: str = "workflow",
        caller_deployment_id: Identifier | None = None,  # noqa: ARG002 - see the class
        ring_id: str | None = None,
        timeout_seconds: float | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ExecutionRecord:
        """Submit a workflow with `config`, else `context`, wait, and return the terminal record, whatever its status.

        Raises:
            PlatformExecutionError: `timeout_seconds`, 300 if none, ran out; cancellation was asked for, best effort.
        """
        budget = DEFAULT_WAIT if timeout_seconds is None else timeout_seconds
        handle = self.submit_workflow_execution(
            *(workflow_id, input_data, context if config is None else config, lifecycle_event, ring_id, budget),
            idempotency_key=idempotency_key,
        )
        return self._await_or_cancel(handle, budget)

    def execute_agent(
        self,
        agent_id: Identifier,
        input_data: JsonObject,
        context: JsonObject | None,
        execution_mode: str = "inline",
        caller_deployment_id: Identifier | None = None,
        ring_id: str | None = None,
        timeout_seconds: float = 300,
        *,
        idempotency_key: str | None = None,
    ) -> AgentCallResponse | ExecutionRecord:
        """Run an agent and return its answer (`inline`) or its execution's terminal record (`isolated`).

        Inline, `timeout_seconds` bounds the call and `context` is not sent. Isolated, `context` is the config.

        Raises:
            PlatformExecutionError: isolated, and `timeout_seconds` ran out; cancellation was asked for, best effort.
        """
        if execution_mode == "inline":
            fields = {"input_data": input_data, "execution_mode": execution_mode, **caller(caller_deployment_id)}
            return self._call(
                *(operations.EXECUTE_AGENT, {"agent_id": agent_id}, fields),
                idempotency_key=idempotency_key,
                timeout=seconds(timeout_seconds, "timeout_seconds"),
            ).value
        if execution_mode != "isolated":
            raise InvalidRequestError(f"execution_mode is {execution_mode!r}; it must be 'inline' or 'isolated'")
        handle = self.submit_agent_execution(
            *(agent_id, input_data, context),
            ring_id=ring_id,
            timeout_seconds=timeout_seconds,
            idempotency_key=idempotency_key,
        )
        return self._await_or_cancel(handle, timeout_seconds)

    def refresh_environment(self) -> None:
        """Look up proxies and CA bundles in the environment anew: they are read once, at the first request."""
        self._transport.refresh_environment()

    def close(self) -> None:
        """Close HTTP and NATS. Can be called twice.

        Raises:
            UndeliveredError: messages over NATS were given up; see `NatsBridge.close`.
        """
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(quietly=error is not None)

    def __repr__(self) -> str:
        # A traceback may show a client whose settings were refused.
        settings = getattr(self, "settings", None)
        return f"PlatformClient({settings.base_url if settings else None!r})"

    def _close(self, *, quietly: bool = False) -> None:
        try:
            self._close_bridge(quietly=quietly)
        finally:
            self._transport.close()

    def _await_or_cancel(self, handle: ExecutionHandle, timeout_seconds: float) -> ExecutionRecord:
        try:
            return self.await_execution_result(handle.execution_id, timeout_seconds=timeout_seconds)
        except ExecutionWaitTimeout as timeout:
            self._cancel_quietly(handle.execution_id)
            raise PlatformExecutionError(
                f"{timeout}; its cancellation was asked for",
                execution_id=handle.execution_id,
                idempotency_key=handle.idempotency_key,
                elapsed=timeout.elapsed,
            ) from timeout

    def _cancel_quietly(self, execution_id: str) -> None:
        try:
            self._call(
                operations.CANCEL_EXECUTION, {"execution_id": execution_id}, timeout=CANCEL_TIMEOUT, max_attempts=1
            )
        except PlatformClientError as error:
            logger.debug("execution %s could not be cancelled: %s", execution_id, error)
