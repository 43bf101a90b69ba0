"""Waiting for an execution's end in a thread of its own, while the caller's thread does something else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flow_client._core.interruptible_future import InterruptibleFuture
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.polling import PollLoop, PollSchedule
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._waiting.polling import Poll, Poller

THREAD_NAME = "flow-client-wait"


class BackgroundWait:
    """The wait for an execution's end, in a daemon thread of its own.

    Args:
        execution_id: the execution.
        poll: reads its record.
        timeout: seconds to wait.

    Attributes:
        future: the terminal record, or the error that ended the wait.
    """

    def __init__(self, execution_id: str, poll: Poller, timeout: float) -> None:
        self._execution_id = execution_id
        self._poll = poll
        self._timeout = timeout
        self._abandoned = threading.Event()
        self.future: InterruptibleFuture[ExecutionRecord] = InterruptibleFuture()

    def start(self) -> None:
        """Start the thread.

        Raises:
            PlatformClientError: the thread cannot be started.
        """
        try:
            threading.Thread(target=self._wait, name=THREAD_NAME, daemon=True).start()
        except RuntimeError as error:
            raise PlatformClientError(f"the thread that waits for the end cannot be started: {error}") from error

    def abandon(self) -> None:
        """Have the thread end as soon as its current request is answered."""
        self._abandoned.set()

    def _wait(self) -> None:
        loop = PollLoop(self._poll_unless_abandoned, sleep=self._abandoned.wait)
        try:
            record = loop.run(self._execution_id, self._timeout, PollSchedule())
        except BaseException as error:  # noqa: BLE001 - it is raised where the record would be returned
            trim_traceback(error)
            self.future.set_exception(error)
        else:
            self.future.set_result(record)

    def _poll_unless_abandoned(self, execution_id: str, **options: Any) -> Poll:
        if self._abandoned.is_set():
            raise ClientClosedError("the wait for the execution's end was abandoned")
        return self._poll(execution_id, **options)
