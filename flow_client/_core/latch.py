"""Waiting that signals can neither break nor deadlock."""

from __future__ import annotations

import math
import threading
from collections import deque

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
        self._waiting: deque[threading.Lock] = deque()

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._is_open

    def open(self) -> None:
        """Wake everyone who waits, now and from now on."""
        self._is_open = True
        while self._waiting:
            self._waiting.popleft().release()

    def wait(self, timeout: float | None) -> bool:
        """Wait until it opens, for `timeout` seconds at most, for ever if None; return whether it is open."""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        deadline = Deadline(math.inf if timeout is None else timeout)
        # Asked again: it may have been opened before that, and then nobody releases the lock.
        while not self._is_open and (left := deadline.remaining()) > 0:
            mine.acquire(timeout=min(left, LONGEST_SLEEP))
        return self._is_open
