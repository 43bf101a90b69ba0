"""Decides which pending execution is polled next."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._waiting.execution_future import ExecutionFuture
    from flow_client._waiting.polling import Watch

FAIR_SHARE = 5
"""One poll in this many goes by time, however many are prioritised: a flood of hints starves nobody."""


@dataclass(eq=False)
class PendingPoll:
    """A future, the state of its wait, and the time of its next poll.

    Attributes:
        future: the execution's future.
        watch: the state of its wait.
        due: the time of the next poll; None while it has none.
        is_prioritised: whether it is among those that are polled first.
        was_announced: whether a hint said that the execution has finished.
    """

    future: ExecutionFuture
    watch: Watch
    due: float | None = None
    is_prioritised: bool = False
    was_announced: bool = False


class PollQueue:
    """The polls to come: prioritised ones in the order of their hints, then the others by time. One thread uses it.

    An entry whose time was changed, or that was polled in the meantime, is skipped when its turn comes.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, PendingPoll]] = []
        self._numbers = itertools.count()
        self._prioritised: deque[PendingPoll] = deque()
        self._by_execution: dict[str, list[PendingPoll]] = {}
        self._turns = itertools.count(1)

    def __iter__(self) -> Iterator[PendingPoll]:
        return itertools.chain.from_iterable(self._by_execution.values())

    def add(self, pending: PendingPoll, due: float) -> None:
        """Add a future; its first poll is at `due`."""
        self._by_execution.setdefault(pending.watch.execution_id, []).append(pending)
        self.schedule(pending, due)

    def remove(self, pending: PendingPoll) -> bool:
        """Remove a future that is done; return whether it was there."""
        execution_id = pending.watch.execution_id
        others = self._by_execution.get(execution_id, [])
        if pending not in others:
            return False
        others.remove(pending)
        if not others:
            del self._by_execution[execution_id]
        return True

    def schedule(self, pending: PendingPoll, due: float) -> None:
        """Set the time of the next poll."""
        pending.due = due
        heapq.heappush(self._heap, (due, next(self._numbers), pending))

    def prioritise(self, execution_id: str) -> None:
        """Poll the execution's futures before the others: a hint says that it has finished."""
        for pending in self._by_execution.get(execution_id, ()):
            pending.was_announced = True
            pending.watch.expect_end()
            if not pending.is_prioritised:
                pending.is_prioritised = True
                self._prioritised.append(pending)

    def next_due(self) -> float:
        """Return the time of the next poll, infinity if there is none."""
        return -math.inf if self._has_prioritised() else self._next_by_time()

    def pop(self, now: float) -> PendingPoll:
        """Return what is polled now; something must be due."""
        is_turn_of_others = next(self._turns) % FAIR_SHARE == 0 and self._next_by_time() <= now
        if self._has_prioritised() and not is_turn_of_others:
            pending = self._prioritised.popleft()
        else:
            self._next_by_time()
            pending = heapq.heappop(self._heap)[2]
        pending.due = None
        pending.is_prioritised = False
        return pending

    def _has_prioritised(self) -> bool:
        while self._prioritised and (self._prioritised[0].future.done() or not self._prioritised[0].is_prioritised):
            self._prioritised.popleft()
        return bool(self._prioritised)

    def _next_by_time(self) -> float:
        while self._heap and (self._heap[0][0] != self._heap[0][2].due or self._heap[0][2].future.done()):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf
