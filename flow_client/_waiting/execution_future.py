"""The future of an execution."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flow_client._core.interruptible_future import InterruptibleFuture
from flow_client._core.log import logger
from flow_client.errors import PlatformClientError

if TYPE_CHECKING:
    from flow_client._api._generated.models import ExecutionRecord


class ExecutionFuture(InterruptibleFuture["ExecutionRecord"]):
    """The future of an execution's terminal record.

    `Future.running()` is never true: until the future is done, `cancel()` always succeeds. That ends the polling; the
    execution goes on.
    """

    def __init__(self, execution_id: str) -> None:
        super().__init__()
        self.execution_id = execution_id
        self._settled = threading.Lock()

    def settle(self, outcome: ExecutionRecord | BaseException | None = None) -> None:
        """Set the record or the error, or tell those who wait that it was cancelled. The first call wins."""
        if not self._settled.acquire(blocking=False):
            return
        if not self.set_running_or_notify_cancel():
            return
        if isinstance(outcome, BaseException):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)  # type: ignore[arg-type]  # only a cancelled one has no outcome

    def settle_quietly(self, outcome: ExecutionRecord | BaseException) -> None:
        """Settle it, and log what its callbacks raise: the other futures must not suffer for it."""
        try:
            self.settle(outcome)
        except BaseException:  # noqa: BLE001 - see above
            logger.exception("a callback of the future of execution %s raised", self.execution_id)

    def fail_in_child(self) -> None:
        """Fail in a forked child, where no thread will ever settle it; the callbacks are the parent's business."""
        # The parent's thread may have held its lock.
        self._renew_lock()
        if not self.done():
            super().__init__()
            self.set_exception(
                PlatformClientError(
                    "the future was made before the fork and belongs to the parent process: "
                    f"take client.execution({self.execution_id!r}).future() here",
                    execution_id=self.execution_id,
                )
            )
