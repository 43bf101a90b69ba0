"""Waiting for an execution's end in one thread while another is shown its events."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from flow_client._core.interruptible import InterruptibleFuture
from flow_client._core.log import logger
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.polling import PollSchedule, Waiter
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from flow_client._waiting.polling import Look, LookAt
    from flow_client.models import ExecutionEvent, ExecutionRecord

    OnEvent = Callable[[ExecutionEvent], object]

THREAD_NAME = "flow-client-wait"


class Ending:
    """The wait for an execution's end, in a daemon thread of its own.

    Args:
        execution_id: the execution.
        look: reads its record.
        timeout: seconds to wait.

    Attributes:
        future: the terminal record, or what the wait raised.
    """

    def __init__(self, execution_id: str, look: LookAt, timeout: float) -> None:
        self._execution_id = execution_id
        self._look = look
        self._timeout = timeout
        self._left = threading.Event()
        self.future: InterruptibleFuture[ExecutionRecord] = InterruptibleFuture()

    def start(self) -> None:
        """Begin to wait.

        Raises:
            PlatformClientError: the thread cannot be started.
        """
        try:
            threading.Thread(target=self._wait, name=THREAD_NAME, daemon=True).start()
        except RuntimeError as error:
            raise PlatformClientError(f"the thread that waits for the end cannot be started: {error}") from error

    def leave(self) -> None:
        """Have the thread end when its request under way has an answer."""
        self._left.set()

    def _wait(self) -> None:
        waiter = Waiter(self._look_unless_left, sleep=self._left.wait)
        try:
            record = waiter.wait(self._execution_id, self._timeout, PollSchedule())
        except BaseException as error:  # noqa: BLE001 - it is raised where the record would be returned
            trim_traceback(error)
            self.future.set_exception(error)
        else:
            self.future.set_result(record)

    def _look_unless_left(self, execution_id: str, **options: Any) -> Look:
        if self._left.is_set():
            raise ClientClosedError("nobody waits for the execution's end any more")
        return self._look(execution_id, **options)


def show(events: Iterator[ExecutionEvent], on_event: OnEvent, ending: Ending, execution_id: str) -> None:
    """Call `on_event` with each event, and return when the wait for the end is over."""
    with closing(_until_they_fail(events, execution_id)) as shown:
        for event in shown:
            on_event(event)
    ending.future.exception()


def _until_they_fail(events: Iterator[ExecutionEvent], execution_id: str) -> Generator[ExecutionEvent, None, None]:
    try:
        yield from events
    except PlatformClientError as error:
        logger.warning(
            "events of execution %s are not shown, the wait for its end goes on over HTTP: %s", execution_id, error
        )
