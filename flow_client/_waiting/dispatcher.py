"""Decides when which future is polled, and has a lane do it."""

from __future__ import annotations

import math
import queue
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from flow_client._core.signal_mask import leave_to_main_thread
from flow_client._waiting.lanes import MOST_LANES, Lanes
from flow_client._waiting.poll_job import PollJob
from flow_client._waiting.poll_queue import PollQueue
from flow_client._waiting.polling import HOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._waiting.completion_hints import OptionalHints
    from flow_client._waiting.pace import Pace
    from flow_client._waiting.pending_poll import PendingPoll
    from flow_client._waiting.polling import Poll

    Command = Callable[["Dispatcher"], None]

RESERVE = 8
"""How many lanes hold requests for a moment only, so that a newcomer soon finds a free one."""
SHORT_HOLD = 2
"""Seconds for which those lanes hold a request."""


class Dispatcher:
    """What the thread of a client's futures does, from the first of them to the last.

    While there are no more futures than lanes, each has a request that the platform may hold. Beyond that lanes poll
    and go on to the next. Everything in here belongs to that thread, and it waits for no lock: other threads put
    commands into its queue, and lanes report there too.

    A thread whose start was interrupted may have been replaced: then it hands its futures on.

    Args:
        poll: reads an execution's record.
        hints: tell of executions that have ended.
        pace: says when the next request may be sent.
        commands: what other threads have asked for; each is called with the dispatcher that carries it out.
        prioritise: called with an execution that is said to have ended, by any thread.
        clock: seconds that only grow.

    Attributes:
        lanes: the threads that send the requests.
    """

    def __init__(
        self,
        poll: Callable[..., Poll],
        hints: OptionalHints,
        pace: Pace,
        commands: queue.SimpleQueue[Command],
        prioritise: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._poll = poll
        self._hints = hints
        self._pace = pace
        self._commands = commands
        self._prioritise = prioritise
        self._queue = PollQueue()
        self._jobs: dict[PendingPoll, PollJob] = {}
        self._watched = 0
        self._holds = False
        self.lanes = Lanes(self._post)

    @property
    def held(self) -> int:
        """How many requests the platform may be holding."""
        return sum(job.hold > 0 for job in self._jobs.copy().values()) if self._holds else 0

    def serve(self, has_work: Callable[[], bool]) -> None:
        """Poll for as long as there is work."""
        leave_to_main_thread()
        self._hints.open()
        try:
            while has_work():
                self._sleep(self.advance())
        finally:
            self._end()

    def advance(self) -> float:
        """Do what other threads have asked for and send what may be sent; return when there is more to do."""
        with suppress(queue.Empty):
            while True:
                self._commands.get_nowait()(self)
        self._dispatch()
        self.lanes.retire()
        poll = self._queue.next_at(self._pace) if self.lanes.has_room else math.inf
        return min(poll, self.lanes.next_retirement())

    def add(self, pending: PendingPoll, due: float) -> None:
        """Add a future; its first poll is at `due`, or at once if the platform is known to hold it."""
        self._watched += 1
        now = pending.polled_at = self._clock()
        first = now if self._holds and self._watched <= MOST_LANES else due
        self._queue.add(pending, first, now + pending.schedule.urgent_after(0.0) if pending.is_new else first)
        self._hints.expect(pending.execution_id, self._prioritise)

    def remove(self, pending: PendingPoll) -> None:
        """Remove a future that is done."""
        if self._queue.remove(pending):
            self._watched -= 1
            self._hints.drop(pending.execution_id, self._prioritise)
        job = self._jobs.get(pending)
        if job is not None:
            job.abandon()

    def hint(self, execution_id: str) -> None:
        """Poll the execution next: it is said to have ended."""
        self._queue.hint(execution_id)

    def _dispatch(self) -> None:
        while self.lanes.has_room and self._queue.next_at(self._pace) <= self._clock():
            self._pace.take()
            self._start(self._queue.pop(self._clock()))
        if self.lanes.has_room and self._queue.is_pressing(self._clock()):
            self._pace.rate.note_short()

    def _start(self, pending: PendingPoll) -> None:
        job = self._jobs[pending] = PollJob(pending, self._poll, self._tell, self._hold(), self._clock)
        self.lanes.give(job)

    def _hold(self) -> int:
        if self._watched > MOST_LANES:
            return 0
        is_reserve = sum(job.hold == HOLD for job in self._jobs.values()) >= MOST_LANES - RESERVE
        return SHORT_HOLD if is_reserve else HOLD

    def _tell(self, job: PollJob) -> None:
        self._post(partial(self._finish, job))

    def _post(self, function: Callable[[], None]) -> None:
        self._commands.put(lambda _: function())

    def _finish(self, job: PollJob) -> None:
        """Take note of a poll that is over, and enter the next one."""
        pending = job.pending
        self._jobs.pop(pending, None)
        if job.is_abandoned:
            return
        if job.error is None:
            self._learn(job)
        else:
            self._pace.note_error(job.error)
        if isinstance(job.outcome, float):
            urgent = 0.0 if pending.was_heard else pending.schedule.urgent_after(pending.age)
            now = pending.polled_at = self._clock()
            self._queue.schedule(pending, now + job.outcome, now + pending.watch.within_deadline(urgent))

    def _learn(self, job: PollJob) -> None:
        pending, age = job.pending, job.pending.watch.age
        is_running = isinstance(job.outcome, float)
        self._pace.note_answer(job.seconds)
        self._holds = job.seconds is None
        durations = pending.schedule.durations
        if is_running:
            durations.note_running(pending.age, age)
        else:
            self._note_end(pending, age, is_held=job.seconds is None)
        pending.age = age

    def _note_end(self, pending: PendingPoll, age: float, *, is_held: bool) -> None:
        if not is_held:
            self._hints.note_end(was_heard=pending.was_heard)
        if pending.schedule.durations.note_end(pending.age, age):
            self._queue.plan_anew(pending.schedule.durations)

    def _sleep(self, until: float) -> None:
        """Wait until then, or until another thread asks for something, and do that."""
        # The queue was found empty before this: otherwise Python 3.10 may take a short time-out for none.
        timeout = min(until - self._clock(), threading.TIMEOUT_MAX)
        if timeout > 0:
            with suppress(queue.Empty):
                self._commands.get(timeout=timeout)(self)

    def _end(self) -> None:
        self.lanes.close()
        for job in self._jobs.values():
            job.abandon()
        for pending in self._queue:
            self._hints.drop(pending.execution_id, self._prioritise)
            if not pending.is_done:
                self._commands.put(partial(_add_at_once, pending))


def _add_at_once(pending: PendingPoll, dispatcher: Dispatcher) -> None:
    dispatcher.add(pending, -math.inf)
