"""A future whose waits a signal can interrupt at any point."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future
from typing import TypeVar

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import LONGEST_SLEEP
from flow_client._core.latch import Latch

ResultT = TypeVar("ResultT")


class _Condition(threading.Condition):
    """A condition that `with` enters and leaves in one step.

    `Condition.__enter__` is written in Python: an interrupt behind its acquiring leaves the lock held for good, and
    then the thread that settles the future never gets it.
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
        self._sleep_until_done(timeout)
        return super().result(timeout=0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception as `Future.exception` does."""
        self._sleep_until_done(timeout)
        return super().exception(timeout=0)

    def _renew_lock(self) -> None:
        """Take a new lock, in a forked child: a thread of the parent may have held the old one."""
        self._condition = _Condition()

    def _sleep_until_done(self, timeout: float | None) -> None:
        deadline = Deadline(math.inf if timeout is None else timeout)
        # Asked again: an interrupt may have kept whoever settled it from opening the latch.
        while not self.done() and (left := deadline.remaining()) > 0:
            self._latch.wait(min(left, LONGEST_SLEEP))
