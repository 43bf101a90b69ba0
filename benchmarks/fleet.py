"""A fleet of 100,000 clients through an outage of the platform, on a virtual clock.

    python -m benchmarks.fleet [--clients 100000]

It prints the requests per second that the platform sees, with all of the client's policies and without one of them. The
policies are the client's own code: `PollLoop`, `Retrier` and `Pace` run here as they do in a script. Only the clock,
the sleeping and the random numbers are the simulation's, so that each run prints the same. It takes half a minute
on two cores.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import logging
import math
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import greenlet

from flow_client._core.deadline import Deadline
from flow_client._http.retry import Call, Retrier, RetryBudget
from flow_client._waiting.pace import Pace
from flow_client._waiting.polling import HOLD, Poll, PollLoop, PollSchedule, Watch
from flow_client.config import DEFAULT_MAX_POLLS_PER_SECOND
from flow_client.errors import PlatformClientError, PlatformConnectionError, PlatformServerError
from flow_client.models import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = 100_000
SEED = 20
OUTAGE = (10, 25)
"""The seconds in which the platform answers nothing but 503. The requests that it holds at that moment are lost."""
END = 50
HEADROOM = 3
"""How many times the usual requests the platform can take; it answers 503 to the rest."""
WAITING = 0.5
"""The share of clients that wait for an execution each, and whose requests the platform holds."""
CALL_EVERY = 20.0
"""Seconds between two calls of each client that makes calls."""
THREADS = 50
"""How many of them share a `PlatformClient`, as the threads of a service do."""
BATCHED = 0.1
"""The share of clients that are executions of a `map`, which the platform does not hold."""
IN_FLIGHT = 100
"""How many of them are in flight in each `map`."""
AGES = (60.0, 600.0)
"""How old these executions are at the start, in seconds."""

RUNNING = ExecutionRecord(execution_id="e-1", status="running")


@dataclass(frozen=True)
class Policies:
    """What the clients do against a herd."""

    name: str
    jitter: bool = True
    budget: bool = True
    pace: bool = True


@dataclass(frozen=True)
class Outcome:
    """What the platform saw.

    Attributes:
        name: the policies.
        calm: requests per second before the outage.
        waits: polls of waits during the outage.
        calls: calls during the outage.
        maps: polls of `map` during the outage.
        return_peak: the most requests in one second after it.
        refused: requests that the platform could not take after the outage.
        settled: seconds from the end of the outage to the last refusal.
    """

    name: str
    calm: int
    waits: int
    calls: int
    maps: int
    return_peak: int
    refused: int
    settled: int


class Simulation:
    """Runs blocking functions side by side, on a clock that jumps from one's waking up to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleeping: list[tuple[float, int, greenlet.greenlet]] = []
        self._numbers = itertools.count()
        self._hub = greenlet.getcurrent()

    def clock(self) -> float:
        return self.now

    def start(self, function: Callable[[], object], at: float) -> None:
        self._wake(at, greenlet.greenlet(function, self._hub))

    def sleep(self, seconds: float) -> None:
        self._wake(self.now + seconds, greenlet.getcurrent())
        self._hub.switch()

    def run(self, until: float) -> None:
        while self._sleeping and self._sleeping[0][0] < until:
            self.now, _, sleeper = heapq.heappop(self._sleeping)
            sleeper.switch()

    def _wake(self, at: float, sleeper: greenlet.greenlet) -> None:
        heapq.heappush(self._sleeping, (at, next(self._numbers), sleeper))


class Platform:
    """Holds requests, goes down and comes back, and counts what it is asked."""

    def __init__(self, simulation: Simulation, capacity: int) -> None:
        self._simulation = simulation
        self._capacity = capacity
        self.seen: Counter[int] = Counter()
        self.during_outage: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()

    def poll(self, execution_id: str, *, hold: int, timeout: float) -> Poll:  # noqa: ARG002 - all are alike
        self.answer("waits")
        now = self._simulation.now
        is_cut = now < OUTAGE[0] <= now + hold
        self._simulation.sleep(OUTAGE[0] - now if is_cut else min(hold, timeout))
        if is_cut:
            raise PlatformConnectionError("the connection was lost")
        return Poll(RUNNING, held=hold > 0)

    def answer(self, kind: str) -> None:
        now = self._simulation.now
        second = int(now)
        self.seen[second] += 1
        self.during_outage[kind] += OUTAGE[0] <= now < OUTAGE[1]
        if OUTAGE[0] <= now < OUTAGE[1] or self.seen[second] > self._capacity:
            self.refused[second] += 1
            raise PlatformServerError("503", status_code=503)


class Executions:
    """The executions of one `map`: polls of all of them share a pace."""

    def __init__(self, simulation: Simulation, platform: Platform, pace: Pace) -> None:
        self._simulation = simulation
        self._platform = platform
        self._pace = pace

    def poll(self, execution_id: str, *, hold: int, timeout: float) -> Poll:  # noqa: ARG002 - all are alike
        while (pause := self._pace.routine_at - self._simulation.now) > 0:
            self._simulation.sleep(pause)
        self._pace.take()
        try:
            self._platform.answer("maps")
        except PlatformServerError as error:
            self._pace.note_error(error)
            raise
        self._pace.note_answer(0.0)
        return Poll(RUNNING, held=False)


class Endless(RetryBudget):
    """No budget."""

    CAPACITY = math.inf


class Unpaced(Pace):
    """No pace."""

    @property
    def routine_at(self) -> float:
        return -math.inf


def run(policies: Policies, clients: int = CLIENTS) -> Outcome:
    """Return what the platform sees of that many clients with these policies."""
    waiting, batched = round(clients * WAITING), round(clients * BATCHED)
    calling = clients - waiting - batched
    calm = waiting / HOLD + calling / CALL_EVERY + batched / 30
    chance = random.Random(SEED)
    uniform = chance.uniform if policies.jitter else _middle
    simulation = Simulation()
    platform = Platform(simulation, round(HEADROOM * calm))

    def wait() -> None:
        PollLoop(platform.poll, simulation.clock, simulation.sleep, uniform).run("e-1", math.inf, PollSchedule())

    for _ in range(waiting):
        simulation.start(wait, at=chance.uniform(0, HOLD))
    for number in range(batched):
        if number % IN_FLIGHT == 0:
            pace = (Pace if policies.pace else Unpaced)(DEFAULT_MAX_POLLS_PER_SECOND, simulation.clock, uniform)
            executions = Executions(simulation, platform, pace)
        simulation.now = -chance.uniform(*AGES)
        watch = Watch("e-1", Deadline(math.inf, simulation.clock), PollSchedule(), longest_hold=0, uniform=uniform)
        simulation.now = 0.0
        simulation.start(_follower(simulation, watch, executions), at=watch.pause() * chance.random())
    for number in range(calling):
        if number % THREADS == 0:
            budget = RetryBudget() if policies.budget else Endless()
            caller = _caller(simulation, platform, Retrier(simulation.sleep, uniform, budget))
        simulation.start(caller, at=chance.uniform(0, CALL_EVERY))
    simulation.run(until=END)
    return _outcome(policies.name, platform)


def _follower(simulation: Simulation, watch: Watch, executions: Executions) -> Callable[[], None]:
    def poll_again_and_again() -> None:
        while isinstance(pause := watch.step(executions.poll), float):
            simulation.sleep(pause)

    return poll_again_and_again


def _caller(simulation: Simulation, platform: Platform, retrier: Retrier) -> Callable[[], None]:
    def call_again_and_again() -> None:
        while True:
            due = simulation.now + CALL_EVERY
            with suppress(PlatformClientError):
                retrier.run(Call(partial(platform.answer, "calls"), Deadline(300, simulation.clock), 3, "call"))
            simulation.sleep(max(0.0, due - simulation.now))

    return call_again_and_again


def _middle(low: float, high: float) -> float:
    return (low + high) / 2


def _outcome(name: str, platform: Platform) -> Outcome:
    down, back = OUTAGE
    refused = {second: platform.refused[second] for second in range(back, END) if platform.refused[second]}
    return Outcome(
        name=name,
        calm=round(sum(platform.seen[second] for second in range(down - 5, down)) / 5),
        waits=platform.during_outage["waits"],
        calls=platform.during_outage["calls"],
        maps=platform.during_outage["maps"],
        return_peak=max(platform.seen[second] for second in range(back, END)),
        refused=sum(refused.values()),
        settled=max(refused, default=back - 1) + 1 - back,
    )


ALL = Policies("all policies")
FLEETS = (
    ALL,
    replace(ALL, name="without jitter", jitter=False),
    replace(ALL, name="without retry budget", budget=False),
    replace(ALL, name="without pace", pace=False),
)
HEAD = ("", "calm, per s", "outage: waits", "calls", "maps", "back, peak", "back, refused", "settled after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    clients = parser.parse_args().clients
    print(f"{clients:,} clients, an outage of {OUTAGE[1] - OUTAGE[0]} s; a peak is the most requests in one second\n")
    print(f"{HEAD[0]:24}" + "".join(f"{each:>15}" for each in HEAD[1:]))
    with ProcessPoolExecutor(initializer=_prepare) as processes:
        for each in processes.map(run, FLEETS, itertools.repeat(clients)):
            figures = (each.calm, each.waits, each.calls, each.maps, each.return_peak, each.refused)
            print(f"{each.name:24}" + "".join(f"{figure:>15,}" for figure in figures) + f"{each.settled:>13} s")


def _prepare() -> None:
    logging.disable()
    gc.disable()  # a hundred thousand stacks would be searched again and again


if __name__ == "__main__":
    main()
