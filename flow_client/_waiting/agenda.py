"""Who is looked at next, among all whose end a client waits for. One thread keeps it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flow_client._waiting.futures import ExecutionFuture
    from flow_client._waiting.polling import Watch

TURN_OF_THE_OTHERS = 5
"""One look in so many goes to an execution nobody was heard of, however many are said to have ended."""


@dataclass(eq=False)
class Watched:
    """A future, the wait behind it, and the time of its next look.

    Attributes:
        hastened: whether it stands among those that are looked at first.
        announced: whether its end was heard of.
        looks: how many looks there were.
        passed_over: how many were left out since the last one.
    """

    future: ExecutionFuture
    watch: Watch
    due: float
    hastened: bool = False
    announced: bool = False
    looks: int = 0
    passed_over: int = 0


class Agenda:
    """The looks to come: those that were hastened in their order, the others by their time.

    An entry whose time was changed, or that was looked at meanwhile, is skipped when it comes up.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Watched]] = []
        self._numbers = itertools.count()
        self._hastened: deque[Watched] = deque()
        self._of_execution: dict[str, list[Watched]] = {}
        self._turns = itertools.count(1)

    def enter(self, watched: Watched) -> None:
        """Take a future in; its first look is at its `due`."""
        self._of_execution.setdefault(watched.future.execution_id, []).append(watched)
        self.add(watched, watched.due)

    def leave(self, watched: Watched) -> bool:
        """Let go of a future that is done; return whether it was there."""
        execution_id = watched.future.execution_id
        others = self._of_execution.get(execution_id, [])
        if watched not in others:
            return False
        others.remove(watched)
        if not others:
            del self._of_execution[execution_id]
        return True

    def entered(self) -> Iterable[Watched]:
        """Return all that have not left."""
        return itertools.chain.from_iterable(self._of_execution.values())

    def add(self, watched: Watched, due: float) -> None:
        """Set the time of the next look."""
        watched.due = due
        heapq.heappush(self._heap, (due, next(self._numbers), watched))

    def hasten(self, execution_id: str) -> None:
        """Look at the execution's futures before the others: it is said to have ended."""
        for watched in self._of_execution.get(execution_id, ()):
            watched.announced = True
            watched.watch.expect_end()
            if not watched.hastened:
                watched.hastened = True
                self._hastened.append(watched)

    def next_due(self) -> float:
        """Return the time of the next look, infinity if there is none."""
        return -math.inf if self._next_hastened() else self._next_by_time()

    def take(self, now: float) -> Watched:
        """Return who is looked at now; there must be somebody due."""
        is_turn_of_others = next(self._turns) % TURN_OF_THE_OTHERS == 0 and self._next_by_time() <= now
        if self._next_hastened() and not is_turn_of_others:
            watched = self._hastened.popleft()
            watched.due = math.nan  # which no entry equals
        else:
            self._next_by_time()
            watched = heapq.heappop(self._heap)[2]
        watched.hastened = False
        return watched

    def _next_hastened(self) -> bool:
        while self._hastened and (self._hastened[0].future.done() or not self._hastened[0].hastened):
            self._hastened.popleft()
        return bool(self._hastened)

    def _next_by_time(self) -> float:
        while self._heap and (self._heap[0][0] != self._heap[0][2].due or self._heap[0][2].future.done()):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf
