"""The wait for an execution's end: long polls where the platform holds a request, else a proportional schedule."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import sleep
from flow_client._core.log import logger
from flow_client._http.retry import backoff, is_transient
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
"""Seconds that a platform has for an answer, beyond the hold: one that hangs must not use up the wait."""
LONGEST_REST = 60.0
"""Seconds for which a wait does not ask again, however long `Retry-After` is: the platform may be back earlier."""
LAST_LOOK = 0.2
"""Seconds for the look that is taken when the time is up."""


@dataclass(frozen=True)
class Look:
    """One look at an execution: its record, and whether the platform held the request."""

    record: ExecutionRecord
    held: bool


class LookAt(Protocol):
    """Reads an execution's record, held for up to `hold` seconds (0: not at all), within `timeout` seconds."""

    def __call__(self, execution_id: str, *, hold: int, timeout: float) -> Look: ...


@dataclass(frozen=True)
class PollSchedule:
    """How long to wait before the next look: a share of the time so far, so that lateness stays in proportion.

    About 100 looks in half an hour, each about 6 % of the run late on average. `interval` fixes the pace instead.
    """

    share: float = 0.12
    shortest: float = 0.05
    longest: float = 60.0
    jitter: float = 0.1
    interval: float | None = None

    def pause(self, elapsed: float, uniform: Callable[[float, float], float]) -> float:
        """Return the seconds until the next look, `elapsed` seconds after the first."""
        if self.interval is not None:
            return self.interval
        return min(self.longest, max(self.shortest, self.share * elapsed)) * uniform(1 - self.jitter, 1 + self.jitter)


class Watch:
    """One execution that is waited for: what a look means, which errors pass, and when the next look is due.

    It takes looks and never sleeps: a blocking wait sleeps between two of them, the waiter of a client's futures looks
    at other executions.

    Args:
        execution_id: the execution.
        deadline: when the wait runs out of time.
        schedule: the pace.
        not_found_grace: seconds for which a 404 may mean that the record cannot be seen yet.
        longest_hold: seconds for which the platform is asked to hold a request at the most; 0 never asks.
        uniform: the random numbers.
    """

    def __init__(
        self,
        execution_id: str,
        deadline: Deadline,
        schedule: PollSchedule,
        not_found_grace: float = DEFAULT_NOT_FOUND_GRACE,
        *,
        longest_hold: int = HOLD,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.execution_id = execution_id
        self._deadline = deadline
        self._schedule = schedule
        self._not_found_grace = not_found_grace
        self._longest_hold = 0 if schedule.interval is not None else longest_hold
        self._uniform = uniform
        self._paced_from = 0.0
        self._record: ExecutionRecord | None = None
        self._error: PlatformClientError | None = None
        self._absorbed = 0
        self._failures = 0

    def step(self, look: LookAt) -> ExecutionRecord | float:
        """Take a look; return the terminal record, or the seconds until the next look.

        Raises:
            ExecutionWaitTimeout: this was the look that is taken when the time is up.
            PlatformNotFoundError: there is no such record after the grace.
            PlatformClientError: the platform refused; transient errors pass.
        """
        last = self.is_due_last
        pause = self._look(look, last=last)
        if self._record is not None and self._record.is_terminal:
            return self._record
        if last:
            raise self._timed_out() from self._error
        return self.within_deadline(pause)

    def pause(self) -> float:
        """Return the seconds that the schedule leaves between a look now and the next."""
        return self._schedule.pause(self._deadline.elapsed() - self._paced_from, self._uniform)

    def expect_end(self) -> None:
        """Begin the schedule anew: the execution is said to have ended, its record may be written a moment later."""
        self._paced_from = self._deadline.elapsed()

    @property
    def is_due_last(self) -> bool:
        """Whether the time is up and the next look is the last."""
        return self._deadline.remaining() <= 0

    def within_deadline(self, pause: float) -> float:
        """Return `pause`, or what is left of the time: the last look is taken at the deadline."""
        return float(min(pause, max(0.0, self._deadline.remaining())))

    def _look(self, look_at: LookAt, *, last: bool) -> float:
        """Take a look, note what it showed, and return the seconds until the next one."""
        started = self._deadline.elapsed()
        remaining = self._deadline.remaining()
        hold = max(0, int(min(self._longest_hold, remaining)))
        timeout = LAST_LOOK if last else min(hold + ANSWER_TIME, remaining + LAST_LOOK)
        try:
            look = look_at(self.execution_id, hold=hold, timeout=timeout)
        except PlatformClientError as error:
            if not self._may_pass(error):
                raise
            return self._absorb(error)
        self._error = None
        self._failures = 0
        # A platform that claims to hold requests, but answers at once with nothing new, is polled like any other.
        worth_it = look.record != self._record or self._deadline.elapsed() - started >= hold / 2
        self._record = look.record
        return 0.0 if look.held and worth_it else self.pause()

    def _may_pass(self, error: PlatformClientError) -> bool:
        if isinstance(error, PlatformNotFoundError):
            return self._deadline.elapsed() < self._not_found_grace
        return is_transient(error) or isinstance(error, PlatformTimeoutError)

    def _absorb(self, error: PlatformClientError) -> float:
        """Note a failed look and return the seconds until the next: sooner than the schedule, or as it was asked."""
        logger.debug("execution %s: a look failed, the wait goes on: %s", self.execution_id, error)
        self._error = error.with_traceback(None)
        self._absorbed += 1
        self._failures += 1
        asked: float = getattr(error, "retry_after", None) or 0.0
        return max(min(self.pause(), backoff(self._failures)), min(asked, LONGEST_REST))

    def _timed_out(self) -> ExecutionWaitTimeout:
        status = self._record.status if self._record is not None else None
        absorbed = f"; {self._absorbed} looks failed, the last with: {self._error}" if self._error else ""
        return ExecutionWaitTimeout(
            f"execution {self.execution_id} did not end within {self._deadline.seconds:g} s, "
            f"its last status is {status!r}{absorbed}; it goes on: "
            f"take it up again with client.execution({self.execution_id!r}).wait()",
            execution_id=self.execution_id,
            last_status=status,
            elapsed=self._deadline.elapsed(),
        )


@dataclass(frozen=True)
class Waiter:
    """Blocks until executions end. The clock, the sleep and the random numbers can be given, for tests."""

    look: LookAt
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = sleep
    uniform: Callable[[float, float], float] = random.uniform

    def wait(
        self,
        execution_id: str,
        timeout: float,
        schedule: PollSchedule,
        not_found_grace: float = DEFAULT_NOT_FOUND_GRACE,
    ) -> ExecutionRecord:
        """Return the terminal record of `execution_id`; `Watch.step` says what is raised."""
        deadline = Deadline(timeout, self.clock)
        watch = Watch(execution_id, deadline, schedule, not_found_grace, uniform=self.uniform)
        while isinstance(next_look := watch.step(self.look), float):
            if next_look > 0:
                self.sleep(next_look)
        return next_look
