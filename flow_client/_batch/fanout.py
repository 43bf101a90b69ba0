"""Many executions of one kind: submitted as there is room, yielded in the order of their inputs."""

from __future__ import annotations

import math
import queue
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from flow_client._api.base import TERMINAL_STATUSES
from flow_client._batch import keys
from flow_client._batch.counts import BatchCounts
from flow_client._batch.submitter import restated
from flow_client._core.checks import shown, whole_number
from flow_client._core.interruptible import LONGEST_SLEEP
from flow_client._core.log import add_note, logger, warn_still_running
from flow_client._core.tracebacks import raised_by_signal_handler
from flow_client._http.retry import is_transient
from flow_client.errors import InvalidRequestError, PlatformStatusError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from concurrent.futures import Future

    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._batch.keys import BatchKeys
    from flow_client._batch.progress import Progress
    from flow_client._batch.submission import Submission
    from flow_client._batch.submitter import Submitter
    from flow_client.executions import ExecutionHandle

AHEAD = 4
"""How many times `max_in_flight` executions may be submitted and not yet yielded: a slow one holds up the rest."""
MOST_ATTEMPTS = 100
"""Limit on the executions of one input that are searched for one that has not failed."""
_FAILED = TERMINAL_STATUSES - {"completed"}
_REUSED_KEY_STATUSES = frozenset({400, 409, 422})


@dataclass(frozen=True)
class BatchOptions:
    """What a batch's caller wants; `PlatformClient.map` says what each means."""

    max_in_flight: int
    timeout: float | None
    return_exceptions: bool
    with_inputs: bool
    retry_failed: bool

    def check(self, keys: BatchKeys) -> None:
        """Raise `InvalidRequestError` if an option is not valid."""
        whole_number(self.max_in_flight, "max_in_flight", InvalidRequestError)
        for name in ("return_exceptions", "with_inputs", "retry_failed"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InvalidRequestError(f"{name} is {shown(value)}; it must be True or False")
        if self.retry_failed and not keys.is_given:
            raise InvalidRequestError("retry_failed needs key=…, which identifies the executions of an earlier run")


@dataclass(eq=False)
class _Entry:
    """An input in its place in the order, the execution that stands for it, and the outcome.

    Attributes:
        position: the input's number, from 0.
        item: the input.
        key: the idempotency key of the input's first execution.
        submission: the latest one, made or under way.
        attempt: how many failed executions of earlier runs were passed over.
        handle: the execution, once it is submitted.
        future: a future of its record.
        is_resumed: whether an earlier run had started it.
        outcome: the record or the error; None before there is one.
    """

    position: int
    item: Any
    key: str
    submission: Submission
    attempt: int = 0
    handle: ExecutionHandle | None = None
    future: Future[ExecutionRecord] | None = None
    is_resumed: bool = False
    outcome: ExecutionRecord | BaseException | None = None


class FanOut:
    """One `PlatformClient.map` under way.

    It submits in the caller's thread, and sleeps there only until there is news: an execution has ended, or a failed
    submission is due again. What ends in the meantime is yielded.

    Args:
        inputs: the items, read one by one as there is room.
        submitter: submits them.
        keys: their idempotency keys.
        options: what the caller wants.
        progress: shows what has ended.
    """

    def __init__(
        self, inputs: Iterable[Any], submitter: Submitter, keys: BatchKeys, options: BatchOptions, progress: Progress
    ) -> None:
        options.check(keys)
        try:
            self._inputs = iter(inputs)
        except TypeError as error:
            raise InvalidRequestError(f"inputs is {shown(inputs)}; it must be an iterable of inputs") from error
        self._submitter = submitter
        self._keys = keys
        self._options = options
        self._progress = progress
        self._entries: deque[_Entry] = deque()
        self._unsent: list[_Entry] = []
        self._ended: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._tally: Counter[str] = Counter()
        self._unfinished = 0
        self._keys_were_used = True
        self._is_exhausted = False
        self._end = math.inf
        self._broken: Exception | None = None

    def outcomes(self) -> Generator[Any, None, None]:
        """Yield the records in the order of the inputs."""
        try:
            with self._progress:
                yield from self._in_order()
        except BaseException as error:
            self._leave(error)
            raise
        logger.info("map: %s", self.counts())
        if self._broken is not None:
            raise self._broken

    def _in_order(self) -> Generator[Any, None, None]:
        # Not within `outcomes`: in CPython 3.13 an interrupt at a loop's jump back passes by the `try` around the loop.
        while self._fill():
            self._progress.show()
            if self._is_ready():
                yield self._next()
            else:
                self._await_news()

    def counts(self) -> BatchCounts:
        """Return the counts so far."""
        tally = self._tally.copy()
        for entry in list(self._entries):
            tally.update(_origin(entry) if entry.outcome is None else ())
        return BatchCounts(**{field.name: tally[field.name] for field in fields(BatchCounts)})

    def _fill(self) -> bool:
        """Submit what may be submitted now; return whether anything is left to yield."""
        while self._may_go_on() and self._submit_one():
            pass
        return bool(self._entries) or not self._is_exhausted

    def _may_go_on(self) -> bool:
        # While the platform is in trouble a try may take long, so what is ready goes first.
        self._take_in_ended()
        return not (self._is_ready() and self._submitter.is_struggling())

    def _is_ready(self) -> bool:
        """Return whether the first input has an outcome."""
        return bool(self._entries) and self._entries[0].outcome is not None

    def _submit_one(self) -> bool:
        """Make one try if one is due; return whether there was one."""
        if self._submitter.due > time.monotonic():
            return False
        entry = self._next_unsent() or self._next_input()
        if entry is not None and entry.outcome is None:
            self._try(entry)
        return entry is not None

    def _next_unsent(self) -> _Entry | None:
        """Return the entry whose submission is due again, if one is."""
        entry = min(self._unsent, key=_due, default=None)
        if entry is None or _due(entry) > time.monotonic():
            return None
        self._unsent.remove(entry)
        return entry

    def _next_input(self) -> _Entry | None:
        """Read the next input, if there is room for it and one is left, and return its entry."""
        if not self._has_room():
            return None
        try:
            item = next(self._inputs)
        except StopIteration:
            self._is_exhausted = True
        except Exception as error:
            if raised_by_signal_handler(error):
                raise
            # It is raised after the records before it.
            self._is_exhausted, self._broken = True, error
        else:
            return self._add_entry(item)
        return None

    def _has_room(self) -> bool:
        # While nobody has answered yet, one input is enough to find out whether somebody does.
        is_alone = self._submitter.is_reached or not self._unsent
        in_order = len(self._entries) < AHEAD * self._options.max_in_flight
        return not self._is_exhausted and is_alone and in_order and self._unfinished < self._options.max_in_flight

    def _add_entry(self, item: Any) -> _Entry:
        position, key, failure = self._tally["inputs"], "", None
        try:
            key = self._keys.of_input(item, position)
        except Exception as error:
            if raised_by_signal_handler(error):
                raise
            # It is the item's, and raised at its entry.
            failure = error
        entry = _Entry(position, item, key, self._submitter.begin(key))
        self._entries.append(entry)
        self._tally["inputs"] += 1
        self._unfinished += 1
        if failure is not None:
            self._settle(entry, failure)
        return entry

    def _try(self, entry: _Entry) -> None:
        """Try to submit the entry's input; then it is in flight, has failed, or is tried again later."""
        try:
            handle = self._submitter.attempt(entry.item, entry.submission)
            if handle is None:
                self._unsent.append(entry)
            else:
                self._start(entry, handle)
        except Exception as error:
            if raised_by_signal_handler(error):
                raise
            # It is the item's, and raised at its entry.
            self._settle(entry, self._explained(entry, error))

    def _start(self, entry: _Entry, handle: ExecutionHandle) -> None:
        """Follow the execution that stands for the input now."""
        entry.handle = handle
        key = keys.of_attempt(entry.key, entry.attempt)
        self._check_key(handle, key)
        entry.is_resumed = _was_there_before(entry.submission, handle)
        if entry.is_resumed and _status(handle) in _FAILED and self._may_retry(entry):
            self._try_again(entry)
            return
        entry.future = handle.future(self._options.timeout)
        entry.future.add_done_callback(lambda _: self._ended.put(entry))

    def _check_key(self, handle: ExecutionHandle, key: str) -> None:
        if getattr(handle, "idempotency_key", None) == key:
            return
        self._keys_were_used = False
        if self._keys.is_given:
            raise InvalidRequestError(
                "submit did not pass on its idempotency_key, so each run with key=… would start the executions again; "
                "write it like lambda item, **key: client.submit_…(…, **key)",
                execution_id=getattr(handle, "execution_id", None),
            )

    def _try_again(self, entry: _Entry) -> None:
        """Submit the input again: its execution failed in an earlier run."""
        entry.attempt += 1
        entry.handle = entry.future = None
        entry.submission = self._submitter.begin(keys.of_attempt(entry.key, entry.attempt))
        self._unsent.append(entry)

    def _next(self) -> Any:
        """Return the first input's outcome."""
        entry = self._entries.popleft()
        outcome = entry.outcome
        if isinstance(outcome, BaseException) and self._ends_the_batch(outcome):
            add_note(outcome, f"This error belongs to inputs[{entry.position}] of the map.")
            raise outcome
        return (entry.item, outcome) if self._options.with_inputs else outcome

    def _ends_the_batch(self, error: BaseException) -> bool:
        is_yielded = self._options.return_exceptions and isinstance(error, Exception)
        return self._submitter.is_unreachable or not is_yielded

    def _await_news(self) -> None:
        """Wait until an execution has ended, a submission may be tried, or it is time to show the progress."""
        with suppress(queue.Empty):
            self._take_in(self._ended.get(timeout=self._seconds_to_wait()))

    def _seconds_to_wait(self) -> float:
        """Return how many seconds to wait for news at most."""
        pauses = [LONGEST_SLEEP]
        if self._progress.refresh_seconds is not None:
            pauses.append(self._progress.refresh_seconds)
        if self._unsent or self._has_room():
            due = -math.inf if self._has_room() else min(map(_due, self._unsent))
            pauses.append(max(0.0, max(due, self._submitter.due) - time.monotonic()))
        return min(pauses)

    def _take_in_ended(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._take_in(self._ended.get_nowait())

    def _take_in(self, entry: _Entry) -> None:
        """Note how an entry's execution has ended, or have it run again."""
        future = entry.future
        if future is None:
            return
        outcome = future.exception() or future.result()
        if not isinstance(outcome, BaseException):
            entry.is_resumed = entry.is_resumed or entry.submission.is_later_than(outcome.created_at)
            if entry.is_resumed and not outcome.is_completed and self._may_retry(entry):
                self._try_again(entry)
                return
        self._settle(entry, outcome)

    def _may_retry(self, entry: _Entry) -> bool:
        return self._options.retry_failed and entry.attempt < MOST_ATTEMPTS and entry.position < self._end

    def _settle(self, entry: _Entry, outcome: Any) -> None:
        entry.outcome = outcome
        self._unfinished -= 1
        is_error = isinstance(outcome, BaseException)
        kind = "errors" if is_error else "completed" if outcome.is_completed else "failed"
        self._tally.update([kind, *_origin(entry)])
        self._progress.note(is_completed=kind == "completed")
        if is_error and self._ends_the_batch(outcome):
            # Nothing behind it will be yielded.
            self._is_exhausted = True
            self._end = min(self._end, entry.position)
            self._unsent = [other for other in self._unsent if other.position < self._end]

    def _explained(self, entry: _Entry, error: Exception) -> Exception:
        """Return the error of a submission, with what to do if the platform has seen its key before."""
        if not self._keys.is_given or not isinstance(error, PlatformStatusError) or not _says_key_was_reused(error):
            return error
        explained = restated(error, f"{self._keys.explain_conflict(entry.item, entry.position)} ({error})")
        explained.__cause__ = error
        return explained

    def _leave(self, interrupt: BaseException) -> None:
        """Stop waiting, and say what is left behind."""
        left = [entry for entry in self._entries if entry.outcome is None]
        in_flight = [entry.handle for entry in left if entry.handle is not None]
        for entry in left:
            if entry.future is not None:
                entry.future.cancel()
        unanswered = sum(entry.handle is None and entry.submission.tries > 0 for entry in left)
        if in_flight or unanswered or not isinstance(interrupt, (Exception, GeneratorExit)):
            warn_still_running(self._what_is_left(in_flight, unanswered), interrupt)

    def _what_is_left(self, in_flight: list[ExecutionHandle], unanswered: int) -> str:
        parts = [f"{len(in_flight)} execution{'s' * (len(in_flight) != 1)} in flight"]
        if ended := self._tally["completed"] + self._tally["failed"]:
            parts.append(f"{ended} ended")
        if unanswered:
            parts.append(f"{unanswered} perhaps submitted")
        return f"map stopped with {', '.join(parts)}; nothing was cancelled. {self._how_to_resume(in_flight)}"

    def _how_to_resume(self, in_flight: list[ExecutionHandle]) -> str:
        ids = f"take them up with client.execution(): {', '.join(handle.execution_id for handle in in_flight)}"
        ways = [ids] if in_flight and not self._keys.is_given else []
        if self._keys_were_used:
            ways.append(f"{self._keys.how_to_resume()} and the same inputs")
        return f"To get the records, {'; or '.join(ways)}" if ways else "There are no records to get"


def _due(entry: _Entry) -> float:
    return entry.submission.due


def _status(handle: ExecutionHandle) -> str:
    return str(getattr(getattr(handle, "accepted", None), "status", "")).lower()


def _was_there_before(submission: Submission, handle: ExecutionHandle) -> bool:
    """Return whether the platform's answer shows that the execution is not of this run."""
    # Nothing ends before it is accepted, unless an earlier try of ours was accepted and its answer was lost.
    has_ended = submission.tries == 1 and _status(handle) in TERMINAL_STATUSES
    return submission.is_replayed or has_ended


def _origin(entry: _Entry) -> list[str]:
    """Return the counts that the execution of an entry belongs to."""
    if entry.handle is None:
        return []
    if entry.is_resumed:
        return ["resumed"]
    return ["started", "retried"] if entry.attempt else ["started"]


def _says_key_was_reused(error: PlatformStatusError) -> bool:
    is_refusal = error.status_code in _REUSED_KEY_STATUSES and not is_transient(error)
    return is_refusal and "idempotency" in f"{error.detail}".lower()
