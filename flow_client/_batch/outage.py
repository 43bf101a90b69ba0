"""The back-off that all submissions of a batch share."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from flow_client._core.log import logger
from flow_client._http.retry import pause_after

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PAUSE = 60.0
"""Limit in seconds on a `Retry-After` that is obeyed: the platform may be back sooner than it expected."""


class Outage:
    """Says when the next submission may be tried: at once, or after growing pauses while the platform accepts none.

    Args:
        patience: seconds after which submissions are given up, after one last try at that moment.
        clock: a monotonic clock, in seconds.
        uniform: draws a random number between two.

    Attributes:
        failures: how many submissions have failed in a row.
        since: when the first of them failed.
        due: when the next may be tried.
    """

    def __init__(
        self,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._uniform = uniform
        self.failures = 0
        self.since = 0.0
        self.due = 0.0

    def note_failure(self, retry_after: float | None) -> float:
        """Note that a submission failed; return the seconds until the next may be tried."""
        now = self._clock()
        self.since = self.since if self.failures else now
        self.failures += 1
        pause = pause_after(self.failures, min(retry_after or 0.0, LONGEST_PAUSE), self._uniform)
        remaining = self.since + self._patience - now
        pause = min(pause, remaining) if remaining > 0 else pause
        self.due = now + pause
        return pause

    def note_answer(self) -> None:
        """Note that the platform has answered: the outage is over."""
        if self.failures:
            seconds = self._clock() - self.since
            logger.info(
                "map: the platform answers submissions again, after %.1f s and %d failures", seconds, self.failures
            )
        self.failures = 0
        self.due = 0.0
