"""Decides which pending execution is polled next, and when."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._waiting.durations import Durations
    from flow_client._waiting.pace import Pace
    from flow_client._waiting.pending_poll import PendingPoll

    _Entry = tuple[float, float, int, PendingPoll]

FAIR_SHARE = 5
"""One poll in this many goes by time, if one is urgent: neither a flood of hints nor a wrong guess starves anybody."""


class PollQueue:
    """The polls to come.

    First come executions that are said to have ended, in the order of their hints; then those that have probably ended,
    by the durations of their component; then those whose poll is due. Among equals the one that was polled longest ago
    comes first. Each becomes urgent in time, and one poll in five goes to those, so none starves.

    An entry whose time was changed, or that was polled in the meantime, is skipped when its turn comes. One thread uses
    it.
    """

    def __init__(self) -> None:
        self._due = _Times("due")
        self._urgent = _Times("urgent")
        self._likely = _Times("likely")
        self._hinted: deque[PendingPoll] = deque()
        self._by_execution: dict[str, list[PendingPoll]] = {}
        self._turns = itertools.count(1)

    def __iter__(self) -> Iterator[PendingPoll]:
        return itertools.chain.from_iterable(self._by_execution.values())

    def add(self, pending: PendingPoll, due: float, urgent: float) -> None:
        """Add a future; its first poll is due, and later urgent, at these times."""
        self._by_execution.setdefault(pending.execution_id, []).append(pending)
        self.schedule(pending, due, urgent)

    def remove(self, pending: PendingPoll) -> bool:
        """Remove a future that is done; return whether it was there."""
        others = self._by_execution.get(pending.execution_id, [])
        if pending not in others:
            return False
        others.remove(pending)
        if not others:
            del self._by_execution[pending.execution_id]
        return True

    def schedule(self, pending: PendingPoll, due: float, urgent: float) -> None:
        """Set when the next poll is due and when it is urgent; at once if a hint came while it was being polled."""
        pending.due, pending.urgent = due, max(due, urgent)
        # After a hint the record may be written a moment later.
        pending.likely = due if pending.was_heard else pending.polled_at + pending.schedule.likely_after(pending.age)
        for times in (self._due, self._urgent, self._likely):
            times.push(pending)
        if pending.is_hinted:
            self._hinted.append(pending)

    def plan_anew(self, durations: Durations) -> None:
        """Plan the polls of a component anew: more is known of it now."""
        for pending in self:
            if pending.due is not None and not pending.is_hinted and pending.schedule.durations is durations:
                urgent = pending.polled_at + pending.schedule.urgent_after(pending.age)
                self.schedule(pending, min(pending.due, urgent), urgent)

    def hint(self, execution_id: str) -> None:
        """Poll the execution's futures before the others: a hint says that it has ended."""
        for pending in self._by_execution.get(execution_id, ()):
            pending.watch.expect_end()
            if not pending.is_hinted and pending.due is not None:
                self._hinted.append(pending)
            pending.is_hinted = pending.was_heard = True

    def next_at(self, pace: Pace) -> float:
        """Return when the next poll may be sent, infinity if there is none."""
        urgent = -math.inf if self._has_hinted() else self._urgent.first()
        return min(max(urgent, pace.urgent_at), max(self._due.first(), pace.routine_at))

    def is_pressing(self, now: float) -> bool:
        """Return whether a poll waits only for the pace, and is worth a faster one."""
        return self._has_hinted() or self._urgent.first() <= now

    def pop(self, now: float) -> PendingPoll:
        """Return what is polled now; `next_at` has come."""
        pending = self._pick(now)
        pending.due = pending.urgent = pending.likely = None
        pending.is_hinted = False
        return pending

    def _pick(self, now: float) -> PendingPoll:
        is_turn_of_others = next(self._turns) % FAIR_SHARE == 0 and self._urgent.first() <= now
        if is_turn_of_others:
            return self._due.pop(now)
        if self._has_hinted():
            return self._hinted.popleft()
        return self._likely.pop(now) if self._likely.first() <= now else self._due.pop(now)

    def _has_hinted(self) -> bool:
        while self._hinted and (
            self._hinted[0].is_done or not self._hinted[0].is_hinted or self._hinted[0].due is None
        ):
            self._hinted.popleft()
        return bool(self._hinted)


class _Times:
    """Pending polls whose time has come, the one polled longest ago first, and those whose time is to come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._to_come: list[_Entry] = []
        self._ready: list[_Entry] = []
        self._numbers = itertools.count()

    def push(self, pending: PendingPoll) -> None:
        time = getattr(pending, self._name)
        if time < math.inf:
            heapq.heappush(self._to_come, (time, time, next(self._numbers), pending))

    def first(self) -> float:
        """Return the earliest time, infinity if there is none."""
        ready, to_come = self._first_of(self._ready), self._first_of(self._to_come)
        return min(ready[1] if ready else math.inf, to_come[1] if to_come else math.inf)

    def pop(self, now: float) -> PendingPoll:
        """Return the one that was polled longest ago, of those whose time has come."""
        while (entry := self._first_of(self._to_come)) and entry[1] <= now:
            _, time, number, pending = heapq.heappop(self._to_come)
            heapq.heappush(self._ready, (pending.polled_at, time, number, pending))
        self._first_of(self._ready)
        return heapq.heappop(self._ready)[-1]

    def _first_of(self, heap: list[_Entry]) -> _Entry | None:
        while heap and (heap[0][1] != getattr(heap[0][-1], self._name) or heap[0][-1].is_done):
            heapq.heappop(heap)
        return heap[0] if heap else None
