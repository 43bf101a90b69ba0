"""One submission that a batch repeats until the platform has answered it: always under the same idempotency key."""

from __future__ import annotations

import math
import time
import uuid
from contextvars import ContextVar, copy_context
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flow_client.errors import PlatformClientError

ReplyT = TypeVar("ReplyT")
ResultT = TypeVar("ResultT")

FIRST_TRY = 30.0
"""Seconds until the first try must be answered, within the client's `timeout`; each further try has twice as many."""
CLOCK_TOLERANCE = timedelta(seconds=10)
"""How far the clock that dates the platform's answers may be from the one that dates its records."""
_REPLAYED = ("Idempotent-Replayed", "Idempotency-Replayed")

_current: ContextVar[Submission | None] = ContextVar("flow_client_submission", default=None)


class Submission:
    """The submission of one input, over all of its tries.

    The first submit call that a try makes belongs to it. That call makes a single attempt, because the batch repeats
    it, and keeps the key of the first try, whoever chose that: however often it is sent, it starts one execution.

    Args:
        idempotency_key: the key that the batch chose.
        is_implied: use that key for a submit call that is given none.

    Attributes:
        idempotency_key: the key under which it is sent.
        tries: how many tries have begun.
        failing_since: when the first of them failed, infinity if none has.
        due: when it is to be tried again.
    """

    def __init__(self, idempotency_key: str, *, is_implied: bool) -> None:
        self.idempotency_key = idempotency_key
        self.tries = 0
        self.failing_since = math.inf
        self.due = 0.0
        self._is_implied = is_implied
        self._is_taken = True
        self._headers: Mapping[str, str] = {}
        self._seconds = 0.0

    def attempt(self, function: Callable[..., ResultT], *args: Any, **options: Any) -> ResultT:
        """Make a try by calling `function`, and return its result."""
        self.tries += 1
        self._is_taken = False
        # In a context of its own, so that an interrupt at any moment leaves nothing for the thread's next submit.
        return copy_context().run(self._attempt, function, args, options)

    def _attempt(self, function: Callable[..., ResultT], args: tuple[Any, ...], options: dict[str, Any]) -> ResultT:
        _current.set(self)
        try:
            return function(*args, **options)
        finally:
            # A thread that `function` started may have inherited the context.
            self._is_taken = True

    def failed_with(self, error: PlatformClientError) -> bool:
        """Return whether `error` is that of this submission, and not of something else that the caller did."""
        return error.idempotency_key == self.idempotency_key

    @property
    def is_replayed(self) -> bool:
        """Whether the platform said that the key had been used before this run."""
        # A try whose answer was lost may have been the one that used it.
        said = any(self._headers.get(name, "").strip().lower() == "true" for name in _REPLAYED)
        return said and self.tries == 1

    def is_later_than(self, created_at: datetime | None) -> bool:
        """Return whether the execution was there before it was submitted here, by the platform's own clocks."""
        answered_at = _moment(self._headers.get("Date"))
        if created_at is None or answered_at is None:
            return False
        created_at = created_at if created_at.tzinfo else created_at.replace(tzinfo=timezone.utc)
        return created_at < answered_at - timedelta(seconds=self._seconds) - CLOCK_TOLERANCE

    def send(self, call: Callable[..., ReplyT], idempotency_key: str | None, timeout: float) -> ReplyT:
        """Make the submit's `call`, for this submission if it is the first of the try."""
        if self._is_taken:
            return call(idempotency_key=idempotency_key)
        self._is_taken = True
        self._settle_key(idempotency_key)
        limit = FIRST_TRY * 2.0 ** min(self.tries - 1, 16)
        started = time.monotonic()
        reply = call(idempotency_key=self.idempotency_key, timeout=min(timeout, limit), max_attempts=1)
        self._seconds, self._headers = time.monotonic() - started, getattr(reply, "headers", {})
        return reply

    def _settle_key(self, given: str | None) -> None:
        if self.tries > 1:
            return
        if given is not None:
            self.idempotency_key = given
        elif not self._is_implied:
            self.idempotency_key = str(uuid.uuid4())


def send(call: Callable[..., ReplyT], idempotency_key: str | None, timeout: float) -> ReplyT:
    """Make a submit's `call`, with the client's own limits or those of the batch that this thread works for."""
    submission = _current.get()
    if submission is None:
        return call(idempotency_key=idempotency_key)
    return submission.send(call, idempotency_key, timeout)


def _moment(date: Any) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
