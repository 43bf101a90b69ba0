"""Thousands of futures on a virtual clock: the client's own dispatcher, queue and pace, on a simulated platform.

Nothing here sleeps or sends. The dispatcher's queue of commands is the schedule of the simulation: when the dispatcher
waits for news, the clock jumps to the next event.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import random
from collections import deque
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from flow_client._core.deadline import Deadline
from flow_client._waiting.completion_hints import OptionalHints
from flow_client._waiting.dispatcher import Dispatcher
from flow_client._waiting.durations import ComponentDurations
from flow_client._waiting.execution_future import ExecutionFuture
from flow_client._waiting.lanes import MOST_LANES
from flow_client._waiting.learned_schedule import LearnedSchedule
from flow_client._waiting.pace import Pace
from flow_client._waiting.pending_poll import PendingPoll
from flow_client._waiting.polling import Poll, PollSchedule, Watch
from flow_client.errors import PlatformRateLimitError
from flow_client.models import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._waiting.completion_hints import CompletionHints
    from flow_client._waiting.dispatcher import Command
    from flow_client._waiting.poll_job import PollJob


class World:
    """The clock and the events to come."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), event))

    def next_event(self) -> float:
        return self._events[0][0] if self._events else math.inf

    def step(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._events)
        event()


@dataclass
class Platform:
    """What answers: how far away it is, how many requests it serves at once, and how many a second it allows.

    Attributes:
        world: the clock.
        round_trip: seconds on the way, there and back.
        slots: how many requests it serves at once.
        service: seconds for one of them.
        allowed: limit on the requests in any second; the others are answered 429.
        retry_after: the seconds that a 429 asks for.
        holds: whether it holds requests.
        told: requests by when they were answered; refused: when it answered 429.
    """

    world: World
    round_trip: float = 0.001
    slots: int | None = None
    service: float = 0.0
    allowed: float = math.inf
    retry_after: float = 1.0
    holds: bool = False
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    early: int = 0
    ends: dict[str, float] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)
    _free_at: list[float] = field(default_factory=list)
    _rests: dict[object, float] = field(default_factory=dict)

    def arrival(self, client: object, execution_id: str, hold: int) -> tuple[float, Callable[[], Poll]]:
        """Take a request that is sent now; return when its answer arrives, and the answer."""
        now = self.world.now
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        self.early += now < self._rests.get(client, 0.0)
        if len(self._recent) >= self.allowed:
            self.refused.append(now)
            self._rests[client] = now + self.round_trip + self.retry_after
            return now + self.round_trip, self._refuse
        self._recent.append(now)
        self.answered.append(now)
        served = self._served(now + self.round_trip / 2)
        end = self.ends[execution_id]
        is_held = self.holds and hold > 0
        seen = max(served, min(end, served + hold)) if is_held else served
        status = "completed" if end <= seen else "running"
        record = ExecutionRecord(execution_id=execution_id, status=status)
        return seen + self.round_trip / 2, lambda: Poll(record, held=is_held)

    def _served(self, arrived: float) -> float:
        if self.slots is None:
            return arrived + self.service
        while len(self._free_at) < self.slots:
            heapq.heappush(self._free_at, 0.0)
        done = max(arrived, heapq.heappop(self._free_at)) + self.service
        heapq.heappush(self._free_at, done)
        return done

    def _refuse(self) -> Poll:
        raise PlatformRateLimitError("429", status_code=429, retry_after=self.retry_after)


class Commands(queue.SimpleQueue):  # type: ignore[type-arg]
    """The dispatcher's commands; to wait for one lets time pass."""

    def __init__(self, world: World, others: list[SimulatedClient]) -> None:
        self._world = world
        self._waiting: deque[Command] = deque()
        self._others = others

    def put(self, item: Command, *_: Any) -> None:
        self._waiting.append(item)

    def get_nowait(self) -> Command:
        if not self._waiting:
            raise queue.Empty
        return self._waiting.popleft()


class SimulatedLanes:
    """Lanes whose requests are events."""

    def __init__(self, client: SimulatedClient, most: int) -> None:
        self._client = client
        self._most = most
        self.count = 0

    @property
    def has_room(self) -> bool:
        return self.count < self._most

    def give(self, job: PollJob) -> None:
        world, sent = self._client.world, self._client.world.now
        self.count += 1
        self._client.lanes_used.append(self.count)
        arrives, answer = self._client.platform.arrival(self._client, job.pending.execution_id, job.hold)
        # The job measures the time from its begin, when it was sent, to the answer.
        self._client.answers[job.pending.execution_id] = (arrives, answer)

        def finish() -> None:
            world.now = sent
            job()
            world.now = arrives
            self.count -= 1

        world.at(arrives, finish)

    def next_retirement(self) -> float:
        return math.inf

    def retire(self) -> None:
        pass

    def close(self) -> None:
        pass


class SimulatedHints:
    """Hints that are sent by the simulation; `SimulatedClient.watch` says of which executions."""

    live = True

    def expect(self, execution_id: str, tell: Callable[[str], None]) -> None:
        pass

    def drop(self, execution_id: str, tell: Callable[[str], None]) -> None:
        pass


class SimulatedClient:
    """The futures of one client."""

    def __init__(
        self,
        world: World,
        platform: Platform,
        *,
        most: float = 1000.0,
        lanes: int = MOST_LANES,
        hints: CompletionHints | None = None,
        is_learning: bool = True,
    ) -> None:
        self.world = world
        self.platform = platform
        self.answers: dict[str, tuple[float, Callable[[], Poll]]] = {}
        self.lateness: list[float] = []
        self.lanes_used: list[int] = []
        self.pace = Pace(most, world.clock, world.random.uniform)
        self.commands = Commands(world, [])
        self._is_learning = is_learning
        self._durations = ComponentDurations()
        self._numbers = itertools.count()
        self._hints = OptionalHints(lambda: hints)
        self._hints.open()
        self.dispatcher = Dispatcher(self._poll, self._hints, self.pace, self.commands, self._hint, world.clock)
        self.dispatcher.lanes = SimulatedLanes(self, lanes)  # type: ignore[assignment]
        self._wakes_at = math.inf

    def watch(self, execution_id: str, duration: float, *, is_hinted: bool = False) -> None:
        """Begin to wait for an execution that begins now."""
        end = self.platform.ends[execution_id] = self.world.now + duration
        component = "" if self._is_learning else execution_id
        schedule = LearnedSchedule(self._durations.of(component), PollSchedule(), self._hints.unheard)
        deadline = Deadline(math.inf, self.world.clock)
        watch = Watch(execution_id, deadline, schedule, uniform=self.world.random.uniform)
        future = ExecutionFuture(execution_id)
        pending = PendingPoll(future, watch, schedule)

        def done(_: object) -> None:
            self.lateness.append(self.world.now - end)
            self.commands.put(lambda dispatcher: dispatcher.remove(pending))

        future.add_done_callback(done)
        due = self.world.now + watch.pause()
        self.commands.put(lambda dispatcher: dispatcher.add(pending, due))
        if is_hinted:
            self.world.at(end + 0.001, lambda: self._hint(execution_id))
        self.wake()

    def wake(self) -> None:
        """Have the dispatcher do what is to be done, and say when it wants to be woken."""
        wakes_at = self.dispatcher.advance()
        if wakes_at < math.inf and wakes_at != self._wakes_at:
            self._wakes_at = wakes_at
            self.world.at(wakes_at, lambda: self._tick(wakes_at))

    def _tick(self, at: float) -> None:
        if at == self._wakes_at:
            self._wakes_at = math.inf

    def _hint(self, execution_id: str) -> None:
        self.commands.put(lambda dispatcher: dispatcher.hint(execution_id))

    def _poll(self, execution_id: str, **_: Any) -> Poll:
        self.world.now, answer = self.answers.pop(execution_id)
        return answer()


def run(world: World, clients: list[SimulatedClient], executions: int) -> None:
    """Let time pass until all executions are seen to have ended."""
    while sum(len(client.lateness) for client in clients) < executions:
        world.step()
        for client in clients:
            client.wake()


def late(client: SimulatedClient) -> tuple[float, float]:
    """Return the median and the 95th percentile of the lateness."""
    cuts = quantiles(client.lateness, n=20)
    return cuts[9], cuts[18]
