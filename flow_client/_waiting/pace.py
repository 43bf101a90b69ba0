"""When the next request of a client's futures and batches may be sent."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from flow_client._http.retry import pause_after
from flow_client._waiting.adaptive_rate import AdaptiveRate
from flow_client.errors import PlatformConnectionError, PlatformStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_REST = 60.0
"""Limit in seconds on an obeyed `Retry-After`: the platform may be back earlier."""
ROUTINE = 80.0
"""Limit on the polls a second that are not urgent: thousands of futures must not use all that a platform takes."""
BURST = 0.02
"""Seconds' worth of requests that may be sent at once, to make up for threads that wake up late."""
POLLS_BEFORE = 4
"""How many polls a submission lets pass while there are as many polls as the rate allows."""
_BUSY = frozenset({429, 503})


class Pace:
    """The token bucket of a client: all of its polls, and the submissions of its batches, take from it.

    Its rate adapts to the platform. After a refusal (429, 503, or any answer with `Retry-After`) everything rests for
    as long as the platform asks. Polls that are not urgent stay within a lower rate, however much the platform
    would take.

    It has no lock, as `AdaptiveRate` has none: two threads at the same moment may take one token for two.

    Args:
        most: the limit on the rate.
        clock: seconds that only grow.
        uniform: the random numbers.

    Attributes:
        rate: the rate that the platform is known to take.
        requests: how many requests were sent.
        refusals: how many of them were refused because the platform is busy.
    """

    def __init__(
        self,
        most: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self.rate = AdaptiveRate(most, clock)
        self.requests = 0
        self.refusals = 0
        self._refused_in_a_row = 0
        self._rests_until = 0.0
        self._spent_until = 0.0
        self._quiet_until = 0.0

    @property
    def resting(self) -> float:
        """How many seconds the platform is still left alone; 0 if it is not."""
        return max(0.0, self._rests_until - self._clock())

    @property
    def urgent_at(self) -> float:
        """When an urgent poll may be sent."""
        ahead = max(0.0, BURST - 1 / self.rate.per_second)
        return max(self._rests_until, self._spent_until - ahead)

    @property
    def routine_at(self) -> float:
        """When a poll that is not urgent may be sent."""
        return max(self.urgent_at, self._quiet_until)

    def submission_at(self, wanted_since: float) -> float:
        """When a submission may be sent: behind the polls, but a constant flow of them lets one pass now and then."""
        turn = wanted_since + (POLLS_BEFORE + 1) / self.rate.per_second
        return max(self._rests_until, min(self._spent_until, turn))

    def take(self) -> None:
        """Note that a request is sent."""
        now = self._clock()
        self.requests += 1
        self._spent_until = max(self._spent_until, now) + 1 / self.rate.per_second
        self._quiet_until = max(self._quiet_until, now - BURST) + 1 / min(ROUTINE, self.rate.per_second)
        # What is urgent may exceed that rate; the others go on soon after.
        self._quiet_until = min(self._quiet_until, now + max(BURST, 1 / self.rate.per_second))

    def note_answer(self, seconds: float | None) -> None:
        """Note that a request was answered, and how long that took; None if the platform held it."""
        self._refused_in_a_row = 0
        self.rate.note_answer(seconds)

    def note_error(self, error: BaseException) -> None:
        """Note what became of a request that failed."""
        if isinstance(error, PlatformStatusError):
            if error.status_code in _BUSY or error.retry_after is not None:
                self._note_refusal(error.retry_after)
            else:
                self.note_answer(None)
        elif isinstance(error, PlatformConnectionError):
            self.rate.note_broken()

    def _note_refusal(self, retry_after: float | None) -> None:
        now = self._clock()
        self.refusals += 1
        # Those that were on their way when the first one was refused say nothing new.
        if now >= self._rests_until:
            self._refused_in_a_row += 1
            self.rate.note_refusal()
        asked = min(retry_after or 0.0, LONGEST_REST)
        rest = pause_after(max(1, self._refused_in_a_row), asked, self._uniform)
        self._rests_until = max(self._rests_until, now + rest)
