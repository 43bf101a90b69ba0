"""The pauses between the polls of a future: from the durations seen so far, or else in proportion to its age."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flow_client._waiting.polling import PollSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._waiting.durations import Durations

DUE = PollSchedule.share
"""A poll is due when this many ends are expected since the last one: one execution in nine has ended.

With a hazard of 1/age, which is all that is known at first, that is the proportional schedule.
"""
LIKELY = -math.log(1 - 0.25)
"""From here on, one in four, an execution is polled before those of which less is known."""
URGENT = -math.log(1 - 0.6)
"""From here on, three in five, a poll may use all that the platform takes."""
SHORTEST_OVERDUE = 0.3
"""Seconds of age below which a poll is no more urgent than at this age: half a dozen polls before that help nobody."""
LONGEST_OVERDUE = 2 * PollSchedule.longest
"""Seconds after which a poll is urgent, whatever the durations say: they may have changed."""


class LearnedSchedule:
    """Says when an execution is worth the next poll.

    Args:
        durations: how long executions of the same component take.
        unknown: the schedule while too few of them have ended.
        unheard: returns the share of ends that no hint tells of. Where hints are right, silence means that the
            execution runs, and it is polled less often.
    """

    def __init__(self, durations: Durations, unknown: PollSchedule, unheard: Callable[[], float] = lambda: 1.0) -> None:
        self.durations = durations
        self.interval = unknown.interval
        self._unknown = unknown
        self._unheard = unheard

    def pause(self, elapsed: float, uniform: Callable[[float, float], float]) -> float:
        """Return the seconds until the next poll is due, `elapsed` seconds after the submission."""
        pause = min(self._unknown.pause(elapsed, uniform) / self._unheard(), self._seconds_until(DUE, elapsed))
        # Now and then even where none has ended yet: the executions of the component may have become shorter.
        quiet = min(self._quiet_for(elapsed), elapsed)
        return min(max(pause, quiet, self._unknown.shortest), self._unknown.longest)

    def urgent_after(self, elapsed: float) -> float:
        """Return the seconds until the next poll is urgent."""
        pause = max(elapsed, SHORTEST_OVERDUE) * math.expm1(URGENT / self._unheard())
        return min(max(min(pause, self._seconds_until(URGENT, elapsed)), self._quiet_for(elapsed)), LONGEST_OVERDUE)

    def likely_after(self, elapsed: float) -> float:
        """Return the seconds until the execution has probably ended, infinity if that is not known."""
        return max(self._seconds_until(LIKELY, elapsed), self._quiet_for(elapsed))

    def _seconds_until(self, ends: float, elapsed: float) -> float:
        return self.durations.seconds_until(ends / self._unheard(), elapsed) if self.durations.is_known else math.inf

    def _quiet_for(self, elapsed: float) -> float:
        return self.durations.quiet_for(elapsed) if self.durations.is_known else 0.0
