"""Many executions at once, in rows beside a peer's: a thread each, or a poller with a fixed pace.

Run it with `make bench` or `python -m benchmarks.fanout [--executions 1000]`. Lateness is the time from an execution's
end until the caller's process knows of it. Requests include submissions. The rows of 2,000 and 10,000 executions run on
a virtual clock (`benchmarks.simulation`), with the client's own dispatcher, queue and pace.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil
import requests

from benchmarks import fanout_server, simulation
from benchmarks.http_server import Server
from benchmarks.peers import HEADERS, client
from benchmarks.table import Row, show
from flow_client.local.nats_server import NatsServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flow_client import ExecutionHandle, PlatformClient
    from flow_client.models import ExecutionRecord

FIXED_PACE = 0.5


@dataclass
class Run:
    """What one way of running them came to."""

    lateness: list[float] = field(default_factory=list)
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def ended(self, record: ExecutionRecord) -> None:
        self.lateness.append(time.monotonic() - float((record.output or {})["ended"]))

    def late(self, percent: int) -> float:
        return quantiles(self.lateness, n=100)[percent - 1]

    def each(self, executions: int) -> float:
        return (self.counts["requests"] + self.counts["started"]) / executions

    def refusals(self) -> str:
        return f"{self.counts['refused']} refused, {self.counts['early']} early, {self.seconds:.1f} s"

    def shown(self, executions: int) -> str:
        late = f"p50 {self.late(50) * 1e3:.0f} ms, p95 {self.late(95) * 1e3:.0f} ms"
        return f"{late}, {self.each(executions):.1f} each, {self.seconds:.1f} s"


def with_map(platform: PlatformClient, run: Run, executions: int, in_flight: int) -> None:
    """Run them through `client.map`."""

    def note(future: Future[ExecutionRecord]) -> None:
        run.ended(future.result())

    def submit(number: int) -> ExecutionHandle:
        return noting(submission(platform, number), note)

    for _ in platform.map(submit, range(executions), max_in_flight=in_flight):
        pass


def noting(handle: ExecutionHandle, note: Callable[[Future[ExecutionRecord]], None]) -> ExecutionHandle:
    """Return the handle, whose future tells `note` when it is done: map itself yields in order, so later."""
    make = handle.future

    def future(timeout: float | None = None) -> Future[ExecutionRecord]:
        made = make(timeout)
        made.add_done_callback(note)
        return made

    handle.future = future  # type: ignore[method-assign]
    return handle


def with_threads(platform: PlatformClient, run: Run, executions: int, in_flight: int) -> None:
    """Run each in a thread of its own whose request the platform holds."""
    with ThreadPoolExecutor(in_flight) as pool:
        for _ in pool.map(lambda number: run.ended(submission(platform, number).wait()), range(executions)):
            pass


def with_fixed_pace(platform: PlatformClient, run: Run, executions: int, in_flight: int) -> None:
    """Poll at each every half a second, from one thread, with plain requests."""
    numbers = iter(range(executions))
    due: dict[str, float] = {}
    with requests.Session() as session:
        session.headers.update(HEADERS)
        look = partial(plain_look, session, platform)
        while len(run.lateness) < executions:
            while len(due) < in_flight and (number := next(numbers, None)) is not None:
                due[submission(platform, number).execution_id] = time.monotonic() + FIXED_PACE
            first = min(due, key=due.__getitem__)
            time.sleep(max(0.0, due.pop(first) - time.monotonic()))
            record = look(first)
            if record["status"] == "completed":
                run.lateness.append(time.monotonic() - record["output"]["ended"])
            else:
                due[first] = time.monotonic() + FIXED_PACE


def plain_look(session: requests.Session, platform: PlatformClient, execution_id: str) -> Any:
    settings = platform.settings
    path = f"/api/v1/orgs/{settings.org_id}/workspaces/{settings.workspace_id}/executions/{execution_id}"
    return session.get(settings.base_url + path, timeout=10).json()


def submission(platform: PlatformClient, number: int) -> ExecutionHandle:
    return platform.submit_code_block_execution("block", {"number": number}, ring_id="ring-1")


def watched(platform: PlatformClient, run: Run, ids: list[str]) -> None:
    """Wait for executions that have begun already, through futures."""
    futures = [platform.execution(each).future() for each in ids]
    for future in futures:
        future.add_done_callback(lambda done: run.ended(done.result()))
    wait(futures)


def submitted(platform: PlatformClient, run: Run, count: int) -> None:
    """Submit executions from several threads, and wait for them through futures."""

    def submit(number: int) -> Future[ExecutionRecord]:
        future = submission(platform, number).future()
        future.add_done_callback(lambda done: run.ended(done.result()))
        return future

    with ThreadPoolExecutor(16) as pool:
        wait(list(pool.map(submit, range(count))))


def polled(platform: PlatformClient, run: Run, ids: list[str]) -> None:
    """Wait for them by polling each every half a second, whatever the platform says."""
    running = dict.fromkeys(ids, 0.0)
    with requests.Session() as session:
        session.headers.update(HEADERS)
        while running:
            first = min(running, key=running.__getitem__)
            time.sleep(max(0.0, running[first] - time.monotonic()))
            record = plain_look(session, platform, first)
            running[first] = time.monotonic() + FIXED_PACE
            if record.get("status") == "completed":
                del running[first]
                run.lateness.append(time.monotonic() - record["output"]["ended"])


class Bench:
    """The server, and what is measured on it."""

    def __init__(self, server: Server, nats_url: str, executions: int) -> None:
        self._url = server.url
        self._nats_url = nats_url
        self._executions = executions

    def get(self, path: str) -> Any:
        return requests.get(f"{self._url}{path}", timeout=30).json()

    def set(self, **settings: float) -> None:
        defaults = {"delay": 0.0, "allowed": 1e9, "shortest": 0.2, "longest": 2.0, "holds": 0.0}
        for name, value in {**defaults, **settings}.items():
            self.get(f"/set/{name}/{value}")

    def measured(self, way: Callable[[PlatformClient, Run], None], *, hints: bool = False) -> Run:
        run = Run()
        self.get("/count")
        with client(self._url, self._nats_url if hints else None) as platform:
            started = time.monotonic()
            way(platform, run)
            run.seconds = time.monotonic() - started
        run.counts = self.get("/count")
        return run

    def held(self) -> Row:
        self.set(holds=1.0)
        count = min(200, self._executions)
        ours = self.measured(lambda platform, run: with_map(platform, run, count, 32))
        peer = self.measured(lambda platform, run: with_threads(platform, run, count, 32))
        holds = ours.late(95) <= 0.03 and ours.each(count) <= 2.2
        return row("32 in flight, held", "a thread each", "p95 <= 30 ms, <= 2.2 each", ours, peer, count, holds=holds)

    def hinted(self, delay: float, target: float | None) -> Row:
        self.set(delay=delay)
        count = self._executions
        ours = self.measured(lambda platform, run: submitted(platform, run, count), hints=True)
        # One request after the other, far away: the peer would take minutes.
        peer = (
            None if target is None else self.measured(lambda platform, run: polled(platform, run, self.started(count)))
        )
        holds = None if target is None else ours.late(95) <= target and ours.each(count) <= 2.3
        wanted = "" if target is None else f"p95 <= {target * 1e3:.0f} ms, <= 2.3 each"
        name = f"{count} in flight, hints, {delay * 1e3 or 1:.0f} ms away"
        return row(name, "every 0.5 s", wanted, ours, peer, count, holds=holds)

    def started(self, count: int) -> list[str]:
        """Start executions all at once, and return their ids."""
        ids: list[str] = self.get(f"/start/{count}")["ids"]
        return ids

    def plain(self) -> Row:
        self.set()
        count = self._executions
        ours = self.measured(lambda platform, run: with_map(platform, run, count, count))
        peer = self.measured(lambda platform, run: with_fixed_pace(platform, run, count, count))
        holds = ours.late(50) <= 0.4 and ours.late(95) <= 1 and ours.each(count) <= 4
        wanted = "p50 <= 0.4 s, p95 <= 1 s, <= 4 each"
        return row(f"{count} in flight, plain", "every 0.5 s", wanted, ours, peer, count, holds=holds)

    def limited(self) -> Row:
        self.set(allowed=200)
        count = self._executions
        ours = self.measured(lambda platform, run: watched(platform, run, self.started(count)))
        time.sleep(1)
        peer = self.measured(lambda platform, run: polled(platform, run, self.started(count)))
        holds = ours.counts["refused"] <= 4 and ours.counts["early"] == 0 and ours.seconds <= 9
        return Row(
            work=f"{count} in flight, 429 above 200/s",
            against="every 0.5 s",
            target="<= 4 refused, none early, 9 s",
            ours=ours.refusals(),
            peer=peer.refusals(),
            ratio="",
            holds=holds,
        )

    def shared(self) -> Row:
        self.set(allowed=100, shortest=10, longest=20)
        runs, shares = [Run(), Run()], []
        with client(self._url) as one, client(self._url) as other, ThreadPoolExecutor(2) as pool:
            ids = [self.get("/start/300")["ids"] for _ in runs]
            list(pool.map(watched, (one, other), runs, ids))
            shares = [each.stats().requests - each.stats().refusals for each in (one, other)]
        fairness = sum(shares) ** 2 / (2 * sum(share**2 for share in shares))
        return Row(
            "two clients, 429 above 100/s", "", "Jain >= 0.95", f"{fairness:.3f}", "", "", holds=fairness >= 0.95
        )


def row(work: str, against: str, target: str, ours: Run, peer: Run | None, count: int, *, holds: bool | None) -> Row:
    if peer is None:
        return Row(work, "", target, ours.shown(count), "", "", holds)
    ratio = f"{ours.late(50) / peer.late(50):.2f}"
    return Row(work, against, target, ours.shown(count), peer.shown(count), ratio, holds)


def simulated(count: int, seconds: float, over: float, target: float | None) -> Row:
    """Return the row of executions that all take as long, on a virtual clock."""
    world = simulation.World()
    platform = simulation.Platform(world)
    ours = simulation.SimulatedClient(world, platform)
    for number in range(count):
        world.at(over * number / count, partial(ours.watch, f"e-{number}", seconds))
    simulation.run(world, [ours], count)
    p50, p95 = simulation.late(ours)
    a_second = (len(platform.answered) + count) / world.now
    holds = a_second <= 250 and (target is None or p95 <= target)
    wanted = "<= 250 requests/s" + ("" if target is None else f", p95 <= {target:.0f} s")
    shown = f"{a_second:.0f} requests/s, p50 {p50:.1f} s, p95 {p95:.1f} s"
    return Row(f"{count} in flight of {seconds:.0f} s, simulated", "", wanted, shown, "", "", holds)


def memory(bench: Bench, url: str) -> Row:
    """Return the row of the memory that 10,000 pending futures take."""
    bench.set(shortest=600, longest=600)
    ids = bench.get("/start/10000")["ids"]
    with client(url) as platform:
        platform.execution(ids[0]).future().cancel()  # what is loaded once is no matter of how many there are
        gc.collect()
        before = psutil.Process().memory_info().rss
        futures = [platform.execution(each).future() for each in ids]
        time.sleep(20)
        more = (psutil.Process().memory_info().rss - before) / 2**20
        for future in futures:
            future.cancel()
    return Row("10000 pending futures", "", "<= 40 MiB more", f"{more:.0f} MiB", "", "", holds=more <= 40)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fan-out beside its peers.")
    parser.add_argument("--executions", type=int, default=1000)
    options = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        NatsServer(folder) as nats_server,
        Server(fanout_server.__file__, nats_server.url) as server,
    ):
        bench = Bench(server, nats_server.url, options.executions)
        rows = [
            memory(bench, server.url),  # first: later there is memory to be used again
            bench.held(),
            bench.hinted(0.0, 0.06),
            bench.hinted(0.02, 0.15),
            bench.hinted(0.1, None),
            bench.plain(),
            bench.limited(),
            bench.shared(),
            simulated(2000, 60.0, 2.0, 9.0),
            simulated(10_000, 600.0, 20.0, None),
        ]
    show(rows)
    return int(any(each.holds is False for each in rows))


if __name__ == "__main__":
    sys.exit(main())
