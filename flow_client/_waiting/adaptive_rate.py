"""How many requests a second a platform takes, found out from its answers."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START = 200.0
"""Requests a second before anything is known."""
FLOOR = 5.0
"""Requests a second, however often the platform refuses them."""
SLOW_FLOOR = START
"""Requests a second, however slow the answers are: what is slow may be this machine."""
WINDOW = 0.1
WINDOW_ANSWERS = 10
"""A window of answers is judged after this time, in seconds, and this many of them."""
REFUSED_SHARE = 0.8
"""What is left, after a refusal, of the rate that the platform took in the last second."""
DEEPEST_CUT = 0.1
"""A refusal leaves this share of the rate at least: a client that asks little has measured little."""
LESS_SHARE = 0.9
SLOW_SHARE = 0.7
BROKEN_SHARE = 0.5
BROKEN_PAUSE = 1.0
"""Seconds within which broken connections count once: an outage breaks all of them together."""
SLOW_FACTOR = 2.0
SLOW_SLACK = 0.05
"""An answer is slow if it takes longer than the fastest of the last minute, this many times and this many seconds."""
FASTEST_HALF_LIFE = 30.0
RECOVERY = 5.0
"""Seconds after a cut until the rate is back at what was known to be too much; see `_curve`."""
FAIR_GAIN = 10.0
"""Requests a second that are gained each second after a cut, whatever the rate."""
PROBING = 1.1
"""Growth in one window beyond what was known to be too much."""


class AdaptiveRate:
    """A rate that doubles until the platform objects, and then approaches the limit as TCP's CUBIC does (RFC 9438).

    It grows only when it was the rate that held requests up: who asks little learns nothing about the limit. A refusal
    cuts it to a share of what was answered in the last second. Answers that take twice as long as the fastest, and
    broken connections, cut it too.

    Nothing here waits for a lock, because signal handlers and several threads use it: two of them at the same moment
    may count one answer for two.

    Args:
        most: the limit on the rate.
        clock: seconds that only grow.

    Attributes:
        per_second: the rate.
    """

    def __init__(self, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self.per_second = min(START, most)
        self._answered: deque[float] = deque(maxlen=max(1, int(min(most, 10_000.0))))
        self._latencies: list[float] = []
        self._window_from = clock()
        self._window_answers = 0
        self._was_short = False
        self._fastest = [float("inf"), float("inf")]
        self._fastest_from = clock()
        self._limit: float | None = None
        self._cut_to = 0.0
        self._recovers_from: float | None = None
        self._broken_at = float("-inf")
        self._slow_until = 0.0

    def note_short(self) -> None:
        """Note that the rate has held a request up."""
        self._was_short = True

    def note_answer(self, seconds: float | None) -> None:
        """Note an answer, and how long it took; None if the platform held it back."""
        now = self._clock()
        self._answered.append(now)
        self._window_answers += 1
        if self._recovers_from is None:
            self._recovers_from = now
        if seconds is not None:
            self._latencies.append(seconds)
            self._note_fastest(seconds, now)
        if now - self._window_from >= WINDOW and self._window_answers >= WINDOW_ANSWERS:
            self._end_window(now)

    def note_refusal(self) -> None:
        """Note that the platform has refused a request because there were too many."""
        taken = max(self._taken(self._clock()), DEEPEST_CUT * self.per_second)
        # Less than the last time: somebody else wants a share, which stays free for longer (RFC 9438, section 4.7).
        is_less = self._limit is not None and taken < self._limit
        self._cut(REFUSED_SHARE * taken, limit=LESS_SHARE * taken if is_less else taken, floor=FLOOR)

    def note_broken(self) -> None:
        """Note that a connection was refused, lost or timed out."""
        now = self._clock()
        if now - self._broken_at >= BROKEN_PAUSE:
            self._broken_at = now
            self._cut(BROKEN_SHARE * self.per_second, limit=max(self.per_second, self._limit or 0.0), floor=FLOOR)

    def _note_fastest(self, seconds: float, now: float) -> None:
        if now - self._fastest_from >= FASTEST_HALF_LIFE:
            self._fastest = [self._fastest[1], seconds]
            self._fastest_from = now
        self._fastest[1] = min(self._fastest[1], seconds)

    def _end_window(self, now: float) -> None:
        latencies, self._latencies = self._latencies, []
        was_short, self._was_short = self._was_short, False
        self._window_from, self._window_answers = now, 0
        usual = sorted(latencies)[len(latencies) // 2] if latencies else 0.0
        # A rate that holds nothing up is not what makes answers slow.
        if was_short and usual > SLOW_FACTOR * min(self._fastest) + SLOW_SLACK:
            self._note_slow(usual, now)
        elif was_short:
            self._grow(now)

    def _note_slow(self, seconds: float, now: float) -> None:
        # What was sent before the last cut is still slow.
        if now >= self._slow_until:
            self._slow_until = now + 2 * seconds
            rate = max(SLOW_SHARE * self.per_second, REFUSED_SHARE * self._taken(now))
            self._cut(rate, limit=self.per_second, floor=SLOW_FLOOR)

    def _taken(self, now: float) -> int:
        """Return how many requests were answered in the last second."""
        return sum(moment > now - 1 for moment in self._answered.copy())

    def _cut(self, rate: float, *, limit: float, floor: float) -> None:
        self._limit = max(limit, floor)
        self._cut_to = self.per_second = min(max(rate, floor), self.per_second)
        self._recovers_from = None

    def _grow(self, now: float) -> None:
        factor = 2.0 if self._limit is None or self.per_second < self._limit else PROBING
        grown = factor * self.per_second
        if self._limit is not None:
            grown = min(grown, max(self._curve(now, self._limit), self.per_second))
        self.per_second = min(grown, self._most)

    def _curve(self, now: float, limit: float) -> float:
        """Return the rate that may be tried: fast up to near the limit, hardly more there, then faster again."""
        elapsed = now - (now if self._recovers_from is None else self._recovers_from)
        cubic = limit + (limit - self._cut_to) * float((elapsed / RECOVERY - 1) ** 3)
        # As in section 4.3 of the RFC: clients that share a limit gain alike, so that they come to equal shares.
        return max(cubic, self._cut_to + FAIR_GAIN * elapsed)
