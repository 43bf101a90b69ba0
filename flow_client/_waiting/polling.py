"""Polling for an execution's end: long polls if the platform holds requests, else a proportional schedule."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import sleep
from flow_client._core.log import logger
from flow_client._http.retry import LONGEST_BACKOFF, is_transient, pause_after
from flow_client.errors import (
    ExecutionWaitTimeout,
    PlatformClientError,
    PlatformNotFoundError,
    PlatformTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._api._generated.models import ExecutionRecord

DEFAULT_WAIT = 300.0
DEFAULT_NOT_FOUND_GRACE = 30.0
HOLD = 20
"""Seconds for which a platform is asked to hold a request (RFC 7240 §4.3)."""
ANSWER_TIME = 10.0
"""Seconds for an answer, beyond the hold: a platform that hangs must not use up the wait."""
LONGEST_REST = 60.0
"""Limit in seconds on an obeyed `Retry-After`: the platform may be back earlier."""
LAST_POLL_TIMEOUT = 0.2
"""Seconds for the last poll, which is made when the time is up."""


@dataclass(frozen=True)
class Poll:
    """What a poll returned: the execution's record, and whether the platform held the request."""

    record: ExecutionRecord
    held: bool


class Poller(Protocol):
    """Reads an execution's record, held for up to `hold` seconds (0: not at all), within `timeout` seconds."""

    def __call__(self, execution_id: str, *, hold: int, timeout: float) -> Poll: ...


class Schedule(Protocol):
    """The pauses between the polls of one execution."""

    @property
    def interval(self) -> float | None:
        """The fixed pause, None if it is not fixed: then the platform may hold requests."""

    def pause(self, elapsed: float, uniform: Callable[[float, float], float]) -> float:
        """Return the seconds until the next poll, `elapsed` seconds after the wait began."""


@dataclass(frozen=True)
class PollSchedule:
    """How long to wait before the next poll: a share of the time so far, so that lateness stays in proportion.

    That is about 100 polls in half an hour; the end is noticed late by 6 % of the run on average. `interval` polls at a
    fixed pace instead.
    """

    share: float = 0.12
    shortest: float = 0.05
    longest: float = 60.0
    jitter: float = 0.1
    interval: float | None = None

    def pause(self, elapsed: float, uniform: Callable[[float, float], float]) -> float:
        """Return the seconds until the next poll, `elapsed` seconds after the first."""
        if self.interval is not None:
            return self.interval
        return min(self.longest, max(self.shortest, self.share * elapsed)) * uniform(1 - self.jitter, 1 + self.jitter)


class Watch:
    """The state of the wait for one execution: what a poll means, which errors are tolerated, when the next is due.

    It polls and never sleeps: between two polls a blocking wait sleeps, and the threads of a client's futures poll
    other executions.

    Args:
        execution_id: the execution.
        deadline: when the wait runs out of time.
        schedule: the pace.
        not_found_grace: seconds for which a 404 may mean that the record cannot be seen yet.
        longest_hold: limit in seconds on the hold that the platform is asked for; 0 never asks.
        uniform: the random numbers.

    Attributes:
        longest_hold: as above, for the next poll.
    """

    __slots__ = (
        "_absorbed",
        "_deadline",
        "_error",
        "_failures",
        "_not_found_grace",
        "_paced_from",
        "_record",
        "_schedule",
        "_uniform",
        "execution_id",
        "longest_hold",
    )

    def __init__(
        self,
        execution_id: str,
        deadline: Deadline,
        schedule: Schedule,
        not_found_grace: float = DEFAULT_NOT_FOUND_GRACE,
        *,
        longest_hold: int = HOLD,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.execution_id = execution_id
        self._deadline = deadline
        self._schedule = schedule
        self._not_found_grace = not_found_grace
        self.longest_hold = 0 if schedule.interval is not None else longest_hold
        self._uniform = uniform
        self._paced_from = 0.0
        self._record: ExecutionRecord | None = None
        self._error: PlatformClientError | None = None
        self._absorbed = 0
        self._failures = 0

    def step(self, poll: Poller) -> ExecutionRecord | float:
        """Poll once; return the terminal record, or the seconds until the next poll.

        Raises:
            ExecutionWaitTimeout: the time is up, and this was the last poll.
            PlatformNotFoundError: there is still no such record after the grace period.
            PlatformClientError: the platform refused; transient errors are tolerated.
        """
        last = self.is_due_last
        pause = self._poll(poll, last=last)
        if self._record is not None and self._record.is_terminal:
            return self._record
        if last:
            raise self._timed_out() from self._error
        return self.within_deadline(pause)

    def pause(self) -> float:
        """Return the seconds from a poll now to the next, by the schedule."""
        return self._schedule.pause(self._deadline.elapsed() - self._paced_from, self._uniform)

    def expect_end(self) -> None:
        """Start from short pauses again: it is said to have ended, but its record may be written a moment later."""
        self._schedule = PollSchedule()
        self._paced_from = self._deadline.elapsed()

    @property
    def age(self) -> float:
        """The seconds since the wait began."""
        return self._deadline.elapsed()

    @property
    def is_due_last(self) -> bool:
        """Whether the time is up and the next poll is the last."""
        return self._deadline.remaining() <= 0

    def within_deadline(self, pause: float) -> float:
        """Return `pause`, or what is left of the time: the last poll is made at the deadline."""
        return float(min(pause, max(0.0, self._deadline.remaining())))

    def _poll(self, poller: Poller, *, last: bool) -> float:
        """Poll, note what that showed, and return the seconds until the next poll."""
        started = self._deadline.elapsed()
        remaining = self._deadline.remaining()
        hold = max(0, int(min(self.longest_hold, remaining)))
        timeout = LAST_POLL_TIMEOUT if last else min(hold + ANSWER_TIME, remaining + LAST_POLL_TIMEOUT)
        try:
            poll = poller(self.execution_id, hold=hold, timeout=timeout)
        except PlatformClientError as error:
            if not self._is_tolerated(error):
                raise
            return self._absorb(error)
        self._error = None
        self._failures = 0
        # A platform that claims to hold requests, but answers at once with nothing new, is polled like any other.
        worth_it = poll.record != self._record or self._deadline.elapsed() - started >= hold / 2
        self._record = poll.record
        return 0.0 if poll.held and worth_it else self.pause()

    def _is_tolerated(self, error: PlatformClientError) -> bool:
        if isinstance(error, PlatformNotFoundError):
            return self._deadline.elapsed() < self._not_found_grace
        return is_transient(error) or isinstance(error, PlatformTimeoutError)

    def _absorb(self, error: PlatformClientError) -> float:
        """Note a failure; return the seconds until the next poll: they grow up to the schedule's pause, or 8 s."""
        logger.debug("execution %s: a poll failed, the wait goes on: %s", self.execution_id, error)
        self._error = error.with_traceback(None)
        self._absorbed += 1
        self._failures += 1
        asked: float = getattr(error, "retry_after", None) or 0.0
        longest = max(LONGEST_BACKOFF, self.pause())
        return pause_after(self._failures, min(asked, LONGEST_REST), self._uniform, longest)

    def _timed_out(self) -> ExecutionWaitTimeout:
        status = self._record.status if self._record is not None else None
        absorbed = f"; {self._absorbed} polls failed, the last with: {self._error}" if self._error else ""
        return ExecutionWaitTimeout(
            f"execution {self.execution_id} did not end within {self._deadline.seconds:g} s, "
            f"its last status was {status!r}{absorbed}; it goes on: "
            f"wait again with client.execution({self.execution_id!r}).wait()",
            execution_id=self.execution_id,
            last_status=status,
            elapsed=self._deadline.elapsed(),
        )


@dataclass(frozen=True)
class PollLoop:
    """Polls until an execution has ended, and sleeps in between. Tests give clock, sleep and random numbers."""

    poll: Poller
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = sleep
    uniform: Callable[[float, float], float] = random.uniform

    def run(
        self,
        execution_id: str,
        timeout: float,
        schedule: PollSchedule,
        not_found_grace: float = DEFAULT_NOT_FOUND_GRACE,
    ) -> ExecutionRecord:
        """Return the terminal record of `execution_id`; `Watch.step` says what is raised."""
        deadline = Deadline(timeout, self.clock)
        watch = Watch(execution_id, deadline, schedule, not_found_grace, uniform=self.uniform)
        while isinstance(outcome := watch.step(self.poll), float):
            if outcome > 0:
                self.sleep(outcome)
        return outcome
