"""Waiting that signals can neither break nor deadlock."""

from __future__ import annotations

import math
import threading
from contextlib import suppress

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import LONGEST_SLEEP


class Latch:
    """Opens once, and any number of threads can wait for that.

    `threading.Event` and `Condition` share a lock among those who wait, and take it in Python code: a signal handler
    that raises there leaves it held, and one that waits in the same thread waits for itself. Here everyone who waits
    has a lock of their own, and every step is a single C call: whatever a signal handler does between two of them,
    nobody else is held up.
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
        """Wake everyone who waits, now and from now on."""
        self._is_open = True
        with suppress(KeyError):
            while True:
                self._waiting.pop().release()

    def wait(self, timeout: float | None) -> bool:
        """Wait until it opens, for `timeout` seconds at most, for ever if None; return whether it is open."""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.add(mine)
        try:
            self._sleep(mine, Deadline(math.inf if timeout is None else timeout))
        finally:
            self._waiting.discard(mine)
        return self._is_open

    def _sleep(self, mine: threading.Lock, deadline: Deadline) -> None:
        # Asked again: it may have been opened before the lock was there, and then nobody releases it.
        while not self._is_open and (left := deadline.remaining()) > 0:
            mine.acquire(timeout=min(left, LONGEST_SLEEP))
