"""When a request is sent again. The only file that imports tenacity, and only once a request has failed."""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from flow_client._core.interruptible import sleep
from flow_client._core.lifecycle import renew_after_fork
from flow_client._core.log import logger
from flow_client._core.uninterrupted import load
from flow_client.errors import (
    PlatformClientError,
    PlatformConflictError,
    PlatformConnectionError,
    PlatformStatusError,
    PlatformTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState, Retrying

    from flow_client._core.deadline import Deadline

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
FIRST_BACKOFF = 0.25
LONGEST_BACKOFF = 8.0

ResultT = TypeVar("ResultT")


class RetryBudget:
    """A token bucket that limits retries, so that they do not make an outage worse.

    A retry takes one token. A call that succeeds returns the tokens of its retries, plus a tenth of a token.
    """

    CAPACITY = 25.0
    REFUND = 0.1

    def __init__(self) -> None:
        self._tokens = self.CAPACITY
        # Reentrant: a signal handler may make a call while its thread holds the lock.
        self._lock = threading.RLock()
        renew_after_fork(self)

    def take(self) -> bool:
        """Take a token for one retry; return False if there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def give_back(self, retries: int) -> None:
        """Return the tokens of a call that succeeded after `retries` retries."""
        if self._tokens >= self.CAPACITY and not retries:
            return
        with self._lock:
            self._tokens = min(self.CAPACITY, self._tokens + retries + self.REFUND)

    def after_fork_in_child(self) -> None:
        """Replace the lock: another thread of the parent may have held it."""
        self._lock = threading.RLock()


@dataclass
class Call(Generic[ResultT]):
    """One operation in progress: how an attempt is made, and the limits of all attempts together.

    Attributes:
        attempts: how many attempts were made.
        failure: why the first one failed, until `go_on` raises it.
    """

    attempt: Callable[[], ResultT]
    deadline: Deadline
    max_attempts: int
    name: str
    attempts: int = 0
    failure: PlatformClientError | None = None

    def __call__(self) -> ResultT:
        """Make one attempt."""
        self.attempts += 1
        return self.attempt()

    def go_on(self) -> ResultT:
        """Fail as the first attempt did; from the second time on make another attempt."""
        failure, self.failure = self.failure, None
        if failure is None:
            return self()
        try:
            raise failure
        finally:
            # Its traceback holds this frame.
            del failure

    def has_no_time(self, state: RetryCallState) -> bool:
        """Return whether the deadline is over before the next attempt could begin."""
        return state.upcoming_sleep >= self.deadline.remaining()

    def announce_retry(self, state: RetryCallState) -> None:
        """Log why the attempt failed and when the next one starts."""
        logger.warning(
            "%s: attempt %d of %d failed, the next in %.2f s: %s",
            self.name,
            self.attempts,
            self.max_attempts,
            state.upcoming_sleep,
            _error(state),
        )


class Retrier:
    """Makes calls, with retries if they can help. All threads of a client share one retrier."""

    def __init__(
        self,
        sleep: Callable[[float], None] = sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        budget: RetryBudget | None = None,
    ) -> None:
        self._sleep = sleep
        self._uniform = uniform
        self._budget = budget or RetryBudget()

    def run(self, call: Call[ResultT]) -> ResultT:
        """Return the call's result; raise the error of its last attempt."""
        try:
            result = call()
        except PlatformClientError as error:
            if call.max_attempts == 1 or not is_transient(error):
                raise
            call.failure = error
        if call.failure is not None:
            result = self._retrying(call)(call.go_on)
        self._budget.give_back(call.attempts - 1)
        return result

    def _retrying(self, call: Call[ResultT]) -> Retrying:
        """Return what goes on after the first attempt.

        It is imported here: it takes a third of the time that a client takes to be imported, and most scripts see no
        failure.
        """
        load("tenacity")
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_any  # noqa: PLC0415 - see above

        # One for each call: tenacity keeps its state per thread, and a signal handler may make a call during another.
        return Retrying(
            sleep=self._sleep,
            retry=retry_if_exception(is_transient),
            wait=self._pause,
            # The order matters: the last one takes a token, so it is asked only if the others allow a retry. tenacity's
            # types do not say that it takes functions here.
            stop=stop_any(stop_after_attempt(call.max_attempts), call.has_no_time, self._has_no_token),  # type: ignore[arg-type]
            before_sleep=call.announce_retry,
            reraise=True,
        )

    def _pause(self, state: RetryCallState) -> float:
        return pause_after(state.attempt_number, getattr(_error(state), "retry_after", None), self._uniform)

    def _has_no_token(self, _: RetryCallState) -> bool:
        return not self._budget.take()


def pause_after(
    failures: int,
    retry_after: float | None,
    uniform: Callable[[float, float], float],
    longest: float = LONGEST_BACKOFF,
) -> float:
    """Return the seconds to wait after so many failures in a row, jittered: who failed together returns spread out.

    Args:
        failures: how many there were, at least 1.
        retry_after: the seconds that the platform asks for, if it does; they are a minimum.
        uniform: draws a random number between two.
        longest: limit in seconds on the back-off; `retry_after` may exceed it.
    """
    return max(backoff(failures, longest) * uniform(0.5, 1.0), (retry_after or 0.0) * uniform(1.0, 1.1))


def backoff(failures: int, longest: float = LONGEST_BACKOFF) -> float:
    """Return the seconds to wait after `failures` failures in a row, without jitter."""
    # The exponent is limited, or a long outage would overflow a float.
    return min(longest, FIRST_BACKOFF * 2.0 ** min(failures - 1, 16))


def is_transient(error: BaseException | None) -> bool:
    """Return whether a retry can help after `error`."""
    if isinstance(error, PlatformConnectionError):
        return not isinstance(error, PlatformTimeoutError) and error.stage != "tls"
    if isinstance(error, PlatformConflictError):
        return error.idempotency_key is not None and "in progress" in f"{error.detail}".lower().replace("_", " ")
    return isinstance(error, PlatformStatusError) and error.status_code in RETRIED_STATUSES


def retry_after_seconds(
    value: str | None, date: str | None = None, now: Callable[[], float] = time.time
) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3); None if it is not valid.

    Args:
        value: the header: seconds or a date.
        date: the answer's `Date` header. A date in `value` is compared with it, because the clock here may differ.
        now: the clock here, used if the answer has no `Date`.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,12}\s*", value):
        return float(value)
    moment = _moment(value)
    if moment is None:
        return None
    asked_at = _moment(date) or datetime.fromtimestamp(now(), timezone.utc)
    return max(0.0, (moment - asked_at).total_seconds())


def _moment(date: str | None) -> datetime | None:
    """Return the moment that a header names; None if it is not valid."""
    try:
        moment = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    # RFC 9110 allows only UTC, so a date without an offset is in UTC.
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
