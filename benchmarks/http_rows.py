"""What is measured, row by row."""

from __future__ import annotations

import gc
import logging
import math
import random
import resource
import subprocess
import sys
import threading as threading_module
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.http_server import SLOW
from benchmarks.peers import callers, client
from benchmarks.table import Row, microseconds, milliseconds
from flow_client._waiting.polling import Poll, PollLoop, PollSchedule
from flow_client.models import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 25
CALLS = {"ours": 120, "requests": 120, "httpx": 60, "httpx.AsyncClient": 4}
PROCESSES = 31
THREADS = 32
HALF_AN_HOUR = 1800.0
PEERS = ("requests", "pydantic", "tenacity")
HEAVY = ("requests", "pydantic", "tenacity", "asyncio", "nats")


def calls(url: str) -> list[Row]:
    """One call on a warm connection, against what else could make it."""
    with callers(url) as each:
        times = _interleaved(each)
    ours, peer, client_, coroutine = (times[name] for name in ("ours", "requests", "httpx", "httpx.AsyncClient"))
    work = "get_execution_status, 1 KiB"
    return [
        _times(work, "requests.Session().get(…).json()", "≤ 0.5x", ours, peer, ours <= 0.5 * peer),
        Row(
            work=work,
            against="httpx.AsyncClient in asyncio.run",
            target="≥ 30x faster",
            ours=microseconds(ours),
            peer=microseconds(coroutine),
            ratio=f"{coroutine / ours:.0f}x faster",
            holds=coroutine >= 30 * ours,
        ),
        _times(work, "httpx.Client", "", ours, client_, None),
    ]


def imports() -> list[Row]:
    """What a process pays for the import."""
    made = "from flow_client import PlatformClient; PlatformClient('http://h', 't', 'o', 'w')"
    bare, ours, peers, client_made = _starts("pass", "import flow_client", f"import {', '.join(PEERS)}", made)
    more = _modules("import flow_client") - _modules("pass")
    heavy = sorted(more.intersection(HEAVY))
    return [
        Row(
            work="import flow_client",
            against="bare interpreter",
            target="≤ 5 ms more",
            ours=milliseconds(ours),
            peer=milliseconds(bare),
            ratio=f"+{milliseconds(ours - bare)}",
            holds=ours - bare <= 0.005,
        ),
        Row(
            work="import PlatformClient, make one",
            against=f"import {', '.join(PEERS)}",
            target="≤ 1.1x",
            ours=milliseconds(client_made),
            peer=milliseconds(peers),
            ratio=f"{client_made / peers:.2f}x",
            holds=client_made <= 1.1 * peers,
        ),
        Row(
            work="modules that import flow_client loads",
            against="bare interpreter",
            target=f"no {'/'.join(HEAVY)}",
            ours=f"{len(more)} more",
            peer="",
            ratio=", ".join(heavy) or "none of them",
            holds=not heavy,
        ),
    ]


def threads(url: str) -> list[Row]:
    """Thirty-two threads on one client, a server that takes 50 ms."""
    noted = _Noted()
    logging.getLogger("urllib3").addHandler(noted)
    with client(url) as shared, ThreadPoolExecutor(THREADS) as pool:

        def call(_: int) -> None:
            shared.get_execution_status("slow-1")

        list(pool.map(call, range(THREADS)))
        rates = [THREADS * 20 / _seconds(lambda: list(pool.map(call, range(THREADS * 20)))) for _ in range(3)]
    logging.getLogger("urllib3").removeHandler(noted)
    rate, ideal = median(rates), THREADS / SLOW
    return [
        Row(
            work=f"32 threads, {noted.warnings} warnings",
            against="32 / 50 ms",
            target="≥ 90 %, no pool warning",
            ours=f"{rate:.0f}/s",
            peer=f"{ideal:.0f}/s",
            ratio=f"{rate / ideal:.0%}",
            holds=rate >= 0.9 * ideal and not noted.warnings,
        )
    ]


def schedule() -> list[Row]:
    """How often a wait asks and how late it is, on a clock that nobody has to wait for."""
    ours, held = _Simulated(HALF_AN_HOUR), _Simulated(HALF_AN_HOUR, held=True)
    fixed = _Simulated(HALF_AN_HOUR)
    ours.wait(PollSchedule())
    held.wait(PollSchedule())
    fixed.wait(PollSchedule(interval=0.5))
    late = fmean(_overshoots(2000))
    peer = f"{fixed.requests}"
    most = math.ceil(HALF_AN_HOUR / 20) + 1
    return [
        _requests("requests in 30 minutes", "≤ 100", ours.requests, peer, holds=ours.requests <= 100),
        _requests("the same, Prefer: wait", "1 in 20 s", held.requests, peer, holds=held.requests <= most),
        Row("mean relative overshoot", "", "≤ 15 %", f"{late:.1%}", "", "", late <= 0.15),
    ]


def lateness(url: str) -> list[Row]:
    """From the end of an execution to the return of the wait, the request being held."""
    with client(url) as ours:
        found = [_lateness(ours.execution(f"held-{number}").wait) for number in range(40)]
    return [
        Row("end → wait returns, p50", "Prefer: wait", "≤ 20 ms", milliseconds(median(found)), "", "", _late(found))
    ]


def endurance(url: str) -> list[Row]:
    """What ten thousand calls leave behind."""
    with client(url) as ours:
        for number in range(1000):
            ours.get_execution_status(f"call-{number}")
        before = _held()
        for number in range(10_000):
            ours.get_execution_status(f"call-{number}")
        memory, threads_, files = (after - was for after, was in zip(_held(), before, strict=True))
    growth = f"{memory / 1024:+.0f} KiB, {threads_:+d} threads, {files:+d} fds"
    holds = memory < 1024 * 1024 and threads_ <= 0 and files <= 0
    return [Row("10 000 calls", "before them", "no growth (RSS < 1 MiB)", growth, "", "", holds)]


class _Noted(logging.Handler):
    """Counts warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings = 0

    def emit(self, _record: logging.LogRecord) -> None:
        self.warnings += 1


class _Simulated:
    """A platform, a clock and a sleep: an execution that ends `end` seconds after the first look."""

    def __init__(self, end: float, *, held: bool = False) -> None:
        self._end = end
        self._held = held
        self.now = 0.0
        self.requests = 0

    def wait(self, schedule: PollSchedule) -> None:
        loop = PollLoop(self._poll, clock=lambda: self.now, sleep=self._sleep)
        loop.run("e-1", 4 * HALF_AN_HOUR, schedule)

    def _poll(self, execution_id: str, *, hold: int, timeout: float) -> Poll:  # noqa: ARG002 - as the loop calls it
        self.requests += 1
        if self._held:
            self.now = min(max(self.now, self._end), self.now + hold)
        status = "completed" if self.now >= self._end else "running"
        return Poll(ExecutionRecord(execution_id=execution_id, status=status), held=self._held)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def _overshoots(executions: int) -> list[float]:
    """Return by how much waits are late, in shares of runs from 1 s to 30 minutes, all orders of length alike."""
    found = []
    for _ in range(executions):
        end = math.exp(random.uniform(0, math.log(HALF_AN_HOUR)))
        simulated = _Simulated(end)
        simulated.wait(PollSchedule())
        found.append((simulated.now - end) / end)
    return found


def _interleaved(each: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return each one's median seconds for a call, from rounds in which all of them take their turn."""
    times: dict[str, list[float]] = {name: [] for name in each}
    for call in each.values():
        call()
    for _ in range(ROUNDS):
        for name, call in each.items():
            times[name].append(_seconds(call, CALLS[name]) / CALLS[name])
    return {name: median(found) for name, found in times.items()}


def _seconds(work: Callable[[], Any], times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - started


def _starts(*codes: str) -> list[float]:
    """Return the processor time of a process for each code, the median of rounds in which all take their turn."""
    times: dict[str, list[float]] = {code: [] for code in codes}
    for _ in range(PROCESSES):
        for code, found in times.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return [median(found) for found in times.values()]


def _modules(code: str) -> set[str]:
    report = f"{code}\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True).stdout.split()
    )


def _lateness(wait: Callable[[], Any]) -> float:
    record = wait()
    return time.monotonic() - float(record.output["ended"])


def _late(found: list[float]) -> bool:
    return median(found) <= 0.02


def _held() -> tuple[int, int, int]:
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, threading_module.active_count(), process.num_fds()


def _times(work: str, against: str, target: str, ours: float, peer: float, holds: bool | None) -> Row:  # noqa: FBT001
    return Row(work, against, target, microseconds(ours), microseconds(peer), f"{ours / peer:.2f}x", holds)


def _requests(work: str, target: str, ours: int, peer: str, *, holds: bool) -> Row:
    return Row(work, "polling every 0.5 s", target, str(ours), peer, f"1/{int(peer) / ours:.0f}", holds)
