"""Submits the inputs of a batch, as patiently as executions are waited for."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any

from flow_client._batch.outage import Outage
from flow_client._batch.submission import Submission
from flow_client._core.checks import shown
from flow_client._core.log import logger
from flow_client._http.retry import is_transient
from flow_client.errors import (
    InvalidRequestError,
    PlatformClientError,
    PlatformConnectionError,
    PlatformRateLimitError,
    PlatformStatusError,
    PlatformTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._waiting.pace import Pace
    from flow_client.executions import ExecutionHandle


class Submitter:
    """Calls the batch's `submit`, and calls it again later where that can help.

    Args:
        submit: `submit(item)` or `submit(item, idempotency_key=…)`; returns the item's handle.
        passes_keys: give `submit` the key, if it takes one.
        patience: seconds for which submissions may fail.
        first_attempts: how often the platform is tried before it has answered for the first time.
        pace: the requests a second of the client.

    Attributes:
        is_reached: whether the platform has answered this batch, even with an error.
        is_unreachable: whether the batch ends because nobody answers.
    """

    def __init__(
        self,
        submit: Callable[..., ExecutionHandle],
        *,
        passes_keys: bool,
        patience: float,
        first_attempts: int,
        pace: Pace,
    ) -> None:
        if not callable(submit):
            raise InvalidRequestError(
                f"submit is {shown(submit)}; it must be a function that returns an input's handle"
            )
        self._submit = submit
        self._passes_keys = passes_keys and _takes_key(submit)
        self._patience = patience
        self._first_attempts = first_attempts
        self._outage = Outage(patience)
        self._pace = pace
        self._ready_since = time.monotonic()
        self.is_reached = False
        self.is_unreachable = False

    @property
    def due(self) -> float:
        """When the next submission may be tried: after a failure later, and never faster than the client's pace."""
        return self._outage.due if self.is_struggling() else self._pace.submission_at(self._ready_since)

    def begin(self, idempotency_key: str) -> Submission:
        """Return a new submission under that key."""
        return Submission(idempotency_key, is_implied=not self._passes_keys)

    def is_struggling(self) -> bool:
        """Return whether the latest submission has failed."""
        return self._outage.failures > 0

    def attempt(self, item: Any, submission: Submission) -> ExecutionHandle | None:
        """Try once to submit `item`.

        Returns:
            Its handle; None if it is to be tried again, at `submission.due`.

        Raises:
            Exception: what `submit` raised, if there is no point in trying again.
        """
        options = {"idempotency_key": submission.idempotency_key} if self._passes_keys else {}
        self._take_token()
        try:
            handle = submission.attempt(self._submit, item, **options)
        except PlatformClientError as error:
            self._postpone(submission, error)
            return None
        finally:
            self._ready_since = time.monotonic()
        self._pace.note_answer(None)
        self._note_answer()
        return _checked(handle)

    def _take_token(self) -> None:
        if self._pace.submission_at(self._ready_since) > self._ready_since:
            self._pace.rate.note_short()
        self._pace.take()

    def _postpone(self, submission: Submission, error: PlatformClientError) -> None:
        """Have the submission tried again later; raise the error if that cannot help or its time is up."""
        if not _is_tolerated(error) or not submission.failed_with(error):
            if isinstance(error, PlatformStatusError):
                self._note_answer()
            raise error
        if isinstance(error, PlatformRateLimitError):
            # Any other failure may be that of submissions alone; what is in flight is polled meanwhile.
            self._pace.note_error(error)
        pause = self._outage.note_failure(getattr(error, "retry_after", None))
        self.is_reached = self.is_reached or not _found_nobody(error)
        self._check_patience(submission, error)
        self._announce(submission, error)
        # The others go first: perhaps it is only this one that fails.
        submission.due = min(self._outage.due + pause, submission.failing_since + self._patience)

    def _check_patience(self, submission: Submission, error: PlatformClientError) -> None:
        now = time.monotonic()
        submission.failing_since = min(submission.failing_since, now)
        failing = now - min(submission.failing_since, self._outage.since)
        error.add_context(attempts=submission.tries, elapsed=failing)
        if not self.is_reached and submission.tries >= self._first_attempts:
            self.is_unreachable = True
            raise restated(error, f"{error}; the platform was never reached, and nothing was submitted") from error
        if failing >= self._patience:
            raise restated(error, f"{error}; submissions have failed for {failing:.0f} s") from error

    def _announce(self, submission: Submission, error: PlatformClientError) -> None:
        is_news = self._outage.failures == 1 and submission.tries == 1
        say = logger.warning if is_news else logger.debug
        say("map: a submission failed and is retried for up to %g s: %s", self._patience, error)

    def _note_answer(self) -> None:
        self.is_reached = True
        self._outage.note_answer()


def restated(error: PlatformClientError, message: str) -> PlatformClientError:
    """Return the same error with another message."""
    context = {name: value for name, value in vars(error).items() if hasattr(type(error), name)}
    return type(error)(message, **context)


def _is_tolerated(error: PlatformClientError) -> bool:
    return is_transient(error) or isinstance(error, PlatformTimeoutError)


def _found_nobody(error: PlatformClientError) -> bool:
    return isinstance(error, PlatformConnectionError) and not error.request_sent


def _takes_key(submit: Callable[..., Any]) -> bool:
    try:
        inspect.signature(submit).bind(None, idempotency_key="")
    except TypeError:
        return False
    except ValueError:  # one that has no signature
        return True
    return True


def _checked(handle: ExecutionHandle) -> ExecutionHandle:
    if callable(getattr(handle, "future", None)):
        return handle
    kind = type(handle).__name__
    raise InvalidRequestError(f"submit returned {kind}; it must return a handle, as client.submit_… does")
