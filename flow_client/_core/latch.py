"""Waiting that signals can neither break nor deadlock."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import LONGEST_SLEEP

if TYPE_CHECKING:
    from collections.abc import Callable


class Latch:
    """Opens once; any number of threads can wait for that.

    Those who wait for a `threading.Event` or `Condition` share a lock and take it in Python code: a signal handler that
    raises there leaves it held, and one that waits in the same thread waits for itself. Here each thread that waits
    has its own lock, and every step is a single C call: whatever a signal handler does between two steps, no other
    thread is held up.
    """

    __slots__ = ("_is_open", "_waiting")

    def __init__(self) -> None:
        self._is_open = False
        self._waiting: set[threading.Lock] = set()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._is_open

    def open(self) -> None:
        """Open it: wake all threads that wait, and let later ones through."""
        self._is_open = True
        with suppress(KeyError):
            while True:
                self._waiting.pop().release()

    def wait(self, timeout: float | None, is_settled: Callable[[], bool] | None = None) -> bool:
        """Wait until it opens, for `timeout` seconds at most (None: no limit); return whether it is open.

        `is_settled` ends the wait too. It is asked now and again: an interrupt may keep a thread that has settled
        something from opening the latch.
        """
        mine = threading.Lock()
        mine.acquire()
        self._waiting.add(mine)
        try:
            self._sleep(mine, Deadline(math.inf if timeout is None else timeout), is_settled)
        finally:
            self._waiting.discard(mine)
        return self._is_open

    def _sleep(self, mine: threading.Lock, deadline: Deadline, is_settled: Callable[[], bool] | None) -> None:
        # Checked again: if it was opened before the lock was added, nobody releases the lock.
        while not (self._is_open or (is_settled and is_settled())) and (left := deadline.remaining()) > 0:
            mine.acquire(timeout=min(left, LONGEST_SLEEP))
