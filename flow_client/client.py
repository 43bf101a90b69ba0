"""The client of the platform."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from flow_client import config as configuration
from flow_client._batch.counts import Batch
from flow_client._batch.fanout import BatchOptions, FanOut
from flow_client._batch.keys import BatchKeys
from flow_client._batch.progress import progress_of
from flow_client._batch.submitter import Submitter
from flow_client._core.checks import optional_seconds, seconds
from flow_client._core.synchronous import not_async
from flow_client._durable_methods import DurableMethods
from flow_client._http.tokens import TokenStore
from flow_client._http.transport import Transport
from flow_client._operation_methods import OperationMethods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from flow_client._client_core import Identifier
    from flow_client.executions import ExecutionHandle
    from flow_client.models import ExecutionRecord

InputT = TypeVar("InputT")

DEFAULT_IN_FLIGHT = 32
DEFAULT_PATIENCE = 300.0


class PlatformClient(DurableMethods):
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
        ring_id: Identifier | None = None,
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
            ring_id: the ring of every submission that names none, else `RING_ID`.
            nats_url: NATS server(s), comma-separated, else `NATS_URL`; used by the NATS methods, by `on_event`, and to
                hear that executions with a future have ended.
            max_attempts: how often one operation is tried.
            max_answer_bytes: the largest answer that is read.

        Raises:
            ConfigurationError: a setting is missing or unusable. Nothing has been sent.
        """
        auth_token = configuration.hidden(auth_token)
        configuration.check_callback(on_auth_token_refresh)
        settings = configuration.resolve(
            *(base_url, org_id, workspace_id, timeout),
            ring_id=ring_id,
            nats_url=nats_url,
            max_attempts=max_attempts,
            max_answer_bytes=max_answer_bytes,
        )
        tokens = TokenStore(configuration.resolve_token(auth_token), on_auth_token_refresh)
        super().__init__(settings, Transport(settings, tokens))

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

            count = partial(client.submit_code_block_execution, "count-words", ring_id="ring-1", timeout_seconds=3600)
            for record in client.map(count, ({"text": text} for text in texts), key="nightly-2026-11-23"):
                print(record.raise_for_status().output)

        The platform ends each execution after the `timeout_seconds` of its submission: 300 s unless `submit` says
        otherwise, as above.

        Nothing is submitted before the first record is asked for, and nothing while none is. To leave it, by Ctrl-C, an
        error or `close()`, ends the submitting and logs what is in flight, which goes on.

        Submissions are as patient as waits: one that fails for a reason that passes (connections refused or lost,
        time-outs, 408, 429, 5xx) is sent again under the same idempotency key, with growing pauses that all inputs
        share, while the executions in flight are watched and their records yielded. Until the platform has answered
        once, a refused connection is more likely a wrong URL: it is tried as often as any other call, then raised.

        Args:
            submit: called with each input, returns its handle: a submit method of the client, or a function that calls
                one. With `key` it is also given `idempotency_key=…`, if it takes that, and has to pass it on. It may be
                called several times for one input; the first submission that it makes has the same key each time.
            inputs: any iterable, without end too: it is read as places become free.
            max_in_flight: how many executions may be submitted and unfinished. Four times as many may be submitted and
                not yielded, because the first of them takes long.
            key: names this batch. The idempotency keys derive from it and the input's position: a script that died and
                is run again with the same key and inputs takes up the executions of its first run and starts none
                twice, for as long as the platform remembers keys. Or a function that returns a string for an input,
                another one for each: the keys derive from that alone, and inputs may be added, removed and reordered.
                Put a date or a run's name into either: under yesterday's key come yesterday's results.
            timeout: seconds for which each execution is waited for once it is submitted; None for no limit. It bounds
                neither the execution nor the batch.
            patience: seconds for which submissions are tried again. They are given up when this one, or all without
                exception, have failed for that long.
            retry_failed: where the execution of an input ended in an earlier run and did not complete, run it once
                more, under a key that derives from `key` too. What fails in this run is yielded, and run again by
                the next. Keep it set in a script: without it the first execution of each input is what counts.
            return_exceptions: yield an input's error in its place and go on. Else it is raised there and ends the map.
            with_inputs: yield pairs of the input and its record.
            progress: show a bar of the executions that have ended, on standard error if that is a terminal, or in the
                notebook; elsewhere there is none. It needs the extra `progress`.

        Returns:
            A generator of the records, whose `counts` say at any time how many executions were started, resumed and
            completed.

        Raises:
            InvalidRequestError: an argument is unusable. At its place: `submit` did not pass the key on or returned no
                handle, or the key function returned no string, or one for two inputs.
            ConfigurationError: `progress` needs tqdm. Nothing has been submitted.
            ExecutionWaitTimeout: at its place, an execution that did not end within `timeout`.
            PlatformBadRequestError: at its place, an input that the platform refuses; it says so if an earlier run
                submitted another input under the same key.
            PlatformConnectionError: nobody answered from the start, with `return_exceptions` too.
            PlatformClientError: at its place, an input that could not be submitted or waited for.
        """
        options = BatchOptions(
            max_in_flight=max_in_flight,
            timeout=optional_seconds(timeout, "timeout"),
            return_exceptions=return_exceptions,
            with_inputs=with_inputs,
            retry_failed=retry_failed,
        )
        keys = BatchKeys(key)
        submitter = Submitter(
            submit,
            passes_keys=keys.is_given,
            patience=seconds(patience, "patience", zero=True),
            first_attempts=self.settings.max_attempts,
        )
        fan_out = FanOut(inputs, submitter, keys, options, progress_of(inputs, progress))
        return Batch(fan_out.outcomes(), fan_out.counts)

    def with_options(self, *, timeout: float | None = None, max_attempts: int | None = None) -> Self:
        """Return a copy with other limits, on the same connections, tokens, retry budget and NATS bridge.

        It costs next to nothing, of a copy too. Closing the copy leaves the shared connections and futures open;
        closing the original closes all its copies.

        Args:
            timeout: seconds for one operation whole; the original's if None.
            max_attempts: how often one operation is tried; the original's if None.

        Raises:
            ConfigurationError: a value is unusable.
            ClientClosedError: the client is closed.
        """
        self._transport.check_open()
        other = copy(self)
        settings = self.settings.with_options(timeout, max_attempts)
        OperationMethods.__init__(other, settings, self._transport.sharing(settings), self)
        return other

    def refresh_environment(self) -> None:
        """Look up proxies and CA bundles in the environment anew: they are read once, at the first request."""
        self._transport.refresh_environment()

    def close(self) -> None:
        """Close HTTP and NATS. Can be called twice. Futures that are pending fail with `ClientClosedError`.

        Raises:
            UndeliveredError: messages over NATS were given up; see `NatsBridge.close`.
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
        if self._is_original:
            self._futures.close()
        try:
            self._close_bridge(quietly=quietly)
        finally:
            self._transport.close()
