"""Waiting that a signal can interrupt at any point: at once, with no lock left behind."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from typing import TypeVar

from flow_client._core.deadline import Deadline

ResultT = TypeVar("ResultT")

LONGEST_SLEEP = 0.5
"""Seconds for one system call that waits: Python sees a signal that came right before the call only after it.

On Windows it sees none during the call either.
"""


def sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does, a while at a time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LONGEST_SLEEP))


class _Condition(threading.Condition):
    """A condition that `with` enters and leaves in one step.

    `Condition.__enter__` is written in Python: an interrupt behind its acquiring leaves the lock held for good, and
    then the thread that settles the future never gets it.
    """

    __enter__ = property(lambda self: self._lock.__enter__)
    __exit__ = property(lambda self: self._lock.__exit__)


class InterruptibleFuture(Future[ResultT]):
    """A `Future` whose `result()` and `exception()` wait on a lock of their own.

    `Condition.wait` turns an interrupt between two of its steps into a `RuntimeError`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = _Condition()
        self._sleepers: set[threading.Lock] = set()
        self.add_done_callback(self._wake)

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
        if self.done():
            return
        sleeper = threading.Lock()
        sleeper.acquire()
        self._sleepers.add(sleeper)
        try:
            self._sleep(sleeper, Deadline(math.inf if timeout is None else timeout))
        finally:
            self._sleepers.discard(sleeper)

    def _sleep(self, sleeper: threading.Lock, deadline: Deadline) -> None:
        # Asked again: who settled it in the meantime saw no sleeper.
        while not self.done() and (left := deadline.remaining()) > 0:
            sleeper.acquire(timeout=min(left, LONGEST_SLEEP))

    def _wake(self, _: Future[ResultT]) -> None:
        for sleeper in tuple(self._sleepers):
            sleeper.release()
