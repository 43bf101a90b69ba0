"""A limit on the number of requests per second."""

from __future__ import annotations

import time


class RateLimit:
    """Spaces requests evenly. One thread uses it.

    Args:
        per_second: how many requests a second may be sent.

    Attributes:
        next_at: the earliest time of the next request, on the monotonic clock.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self.next_at = 0.0

    def note_request(self) -> None:
        """Note that a request is sent now."""
        self.next_at = time.monotonic() + self._interval
