"""The one deadline of an operation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """A point in time, `seconds` after its creation, on a monotonic clock."""

    __slots__ = ("_clock", "_start", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: float = seconds
        self._clock = clock
        self._start = clock()

    def elapsed(self) -> float:
        """Return the seconds since the deadline was set."""
        return self._clock() - self._start

    def remaining(self) -> float:
        """Return the seconds that are left; 0 or less once it has passed."""
        return self.seconds - self.elapsed()

    def expire(self) -> None:
        """Have it pass at once. Any thread may call this."""
        self.seconds = 0.0
