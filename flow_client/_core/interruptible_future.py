"""A future whose waits a signal can interrupt at any point."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TypeVar

from flow_client._core.latch import Latch

ResultT = TypeVar("ResultT")


class _Condition(threading.Condition):
    """A condition that `with` enters and leaves in one step.

    `Condition.__enter__` is written in Python: an interrupt right after it has acquired the lock leaves it held
    for good, and the thread that settles the future never gets it.
    """

    __enter__ = property(lambda self: self._lock.__enter__)
    __exit__ = property(lambda self: self._lock.__exit__)


class InterruptibleFuture(Future[ResultT]):
    """A `Future` whose `result()` and `exception()` wait on a latch.

    `Condition.wait` turns an interrupt between two of its steps into a `RuntimeError`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = _Condition()
        latch = self._latch = Latch()
        self.add_done_callback(lambda _: latch.open())

    def result(self, timeout: float | None = None) -> ResultT:
        """Return the result as `Future.result` does."""
        __tracebackhide__ = True
        self._latch.wait(timeout, self.done)
        return super().result(timeout=0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception as `Future.exception` does."""
        self._latch.wait(timeout, self.done)
        return super().exception(timeout=0)

    def _renew_lock(self) -> None:
        """Take a new lock, in a forked child: a thread of the parent may have held the old one."""
        self._condition = _Condition()
