"""A blocking wait for an execution's end, with its events, interrupts and timeouts. It needs no client."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from flow_client._core.log import logger, warn_still_running
from flow_client._core.synchronous import is_async
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.background import BackgroundWait
from flow_client._waiting.polling import DEFAULT_NOT_FOUND_GRACE, PollLoop, PollSchedule
from flow_client.errors import (
    ExecutionWaitTimeout,
    InvalidRequestError,
    PlatformClientError,
    PlatformExecutionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future

    from flow_client._api._generated.models import ExecutionEvent, ExecutionRecord
    from flow_client._waiting.polling import Poller
    from flow_client.executions import ExecutionHandle, OnInterrupt

    OnEvent = Callable[[ExecutionEvent], object]

CANCEL_TIMEOUT = 10.0
"""Seconds for the request that cancels an execution whose wait timed out or was interrupted."""


class EventSource(Protocol):
    """Reads an execution's events: the NATS bridge."""

    def events(self, execution_id: str, *, until: Future[Any]) -> Iterator[ExecutionEvent]:
        """Follow all events until `until` has a result, and then those that are stored by then."""


class Wait:
    """Waits for executions to end, in the caller's thread.

    Args:
        poll: reads an execution's record.
        cancel: asks for an execution's cancellation.
        open_bridge: returns the source of events; called only if events are wanted.
    """

    def __init__(self, poll: Poller, cancel: Callable[..., object], open_bridge: Callable[[], EventSource]) -> None:
        self._poll = poll
        self._cancel = cancel
        self._open_bridge = open_bridge

    def check(self, on_interrupt: OnInterrupt, on_event: OnEvent | None) -> None:
        """Raise before the submission what a wait with these arguments would raise after it.

        Raises:
            InvalidRequestError: an argument is not valid.
            ConfigurationError: events are wanted and there is no NATS server.
            ClientClosedError: events are wanted and the client is closed.
        """
        check_on_interrupt(on_interrupt)
        if on_event is None:
            return
        if not callable(on_event) or is_async(on_event):
            raise InvalidRequestError(f"on_event is {on_event!r}; it must be a plain function of an event")
        self._open_bridge()

    def until_ended(
        self,
        execution_id: str,
        timeout: float,
        schedule: PollSchedule,
        not_found_grace: float = DEFAULT_NOT_FOUND_GRACE,
        *,
        on_interrupt: OnInterrupt,
    ) -> ExecutionRecord:
        """Return the terminal record; `PlatformClient.await_execution_result` documents arguments and errors."""
        __tracebackhide__ = True
        try:
            return PollLoop(self._poll).run(execution_id, timeout, schedule, not_found_grace)
        except BaseException as error:
            if not isinstance(error, PlatformClientError):
                self._leave(execution_id, on_interrupt, error)
            trim_traceback(error)
            raise

    def finish(
        self,
        handle: ExecutionHandle,
        timeout: float,
        *,
        check: bool,
        on_interrupt: OnInterrupt,
        on_event: OnEvent | None,
    ) -> ExecutionRecord:
        """Wait for an execution that was just submitted, and cancel it if it does not end in time.

        Raises:
            PlatformExecutionError: it did not end in time; with `check` also if it did not complete.
            PlatformClientError: the wait failed.
        """
        __tracebackhide__ = True
        try:
            record = self._record(handle.execution_id, timeout, on_interrupt, on_event)
        except ExecutionWaitTimeout as error:
            self._cancel_quietly(handle.execution_id)
            raise PlatformExecutionError(
                f"{error}; its cancellation was asked for",
                execution_id=handle.execution_id,
                idempotency_key=handle.idempotency_key,
                elapsed=error.elapsed,
            ) from error.with_traceback(None)
        return record.raise_for_status(idempotency_key=handle.idempotency_key) if check else record

    def _record(
        self, execution_id: str, timeout: float, on_interrupt: OnInterrupt, on_event: OnEvent | None
    ) -> ExecutionRecord:
        __tracebackhide__ = True
        if on_event is None:
            return self.until_ended(execution_id, timeout, PollSchedule(), on_interrupt=on_interrupt)
        background = BackgroundWait(execution_id, self._poll, timeout)
        try:
            background.start()
            self._show_events(execution_id, on_event, background.future)
        except BaseException as error:  # on_event's own too: nobody waits any more
            self._leave(execution_id, on_interrupt, error)
            trim_traceback(error)
            raise
        finally:
            background.abandon()
        return background.future.result()

    def _show_events(self, execution_id: str, on_event: OnEvent, ended: Future[ExecutionRecord]) -> None:
        """Call `on_event` with each event, and return when `ended` is done."""
        events = self._open_bridge().events(execution_id, until=ended)
        with closing(_until_they_fail(events, execution_id)) as shown:
            for event in shown:
                on_event(event)
        ended.exception()

    def _leave(self, execution_id: str, on_interrupt: OnInterrupt, interrupt: BaseException) -> None:
        """Say what becomes of an execution whose wait was interrupted, and cancel it if that was wanted."""
        ending = "its cancellation is asked for" if on_interrupt == "cancel" else "it goes on"
        cause = "" if isinstance(interrupt, KeyboardInterrupt) else f" by {type(interrupt).__name__}"
        message = (
            f"the wait for execution {execution_id} was interrupted{cause}; {ending}: "
            f"take it up again with client.execution({execution_id!r}).wait()"
        )
        warn_still_running(message, interrupt)
        if on_interrupt == "cancel":
            self._cancel_quietly(execution_id)

    def _cancel_quietly(self, execution_id: str) -> None:
        try:
            self._cancel(execution_id, timeout=CANCEL_TIMEOUT, max_attempts=1)
        except PlatformClientError as error:
            logger.debug("execution %s could not be cancelled: %s", execution_id, error)


def check_on_interrupt(value: object) -> None:
    """Raise `InvalidRequestError` unless `value` says what an interrupt does to an execution."""
    if value not in ("detach", "cancel"):
        raise InvalidRequestError(f"on_interrupt is {value!r}; it must be 'detach' or 'cancel'")


def _until_they_fail(events: Iterator[ExecutionEvent], execution_id: str) -> Generator[ExecutionEvent, None, None]:
    try:
        yield from events
    except PlatformClientError as error:
        logger.warning(
            "cannot show the events of execution %s; still waiting for its end over HTTP: %s", execution_id, error
        )
