"""Many executions at once: `client.map` beside a thread for each execution and a poller with a fixed pace.

Run it with `make bench` or `python -m benchmarks.fanout [--executions 1000] [--in-flight 32]`. Each execution ends
0.2 s to 2 s after its submission. Lateness is the time from its end until the caller's process knows of it. The
submissions are among the requests.
"""

from __future__ import annotations

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import requests

from benchmarks import fanout_server
from benchmarks.http_server import Server
from benchmarks.peers import HEADERS, client
from flow_client.local.nats_server import NatsServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flow_client import ExecutionHandle, PlatformClient
    from flow_client.models import ExecutionRecord

FIXED_PACE = 0.5
HINTED = "client.map, with NATS"


@dataclass
class Run:
    """What one way of running them came to."""

    name: str
    lateness: list[float] = field(default_factory=list)
    threads: int = 0
    seconds: float = 0.0
    requests: int = 0

    def ended(self, record: ExecutionRecord) -> None:
        self.lateness.append(time.monotonic() - float((record.output or {})["ended"]))

    def line(self, executions: int) -> str:
        cuts = quantiles(self.lateness, n=20)
        return (
            f"{self.name:32}{self.threads:>9}{self.requests / executions:>16.1f}{self.requests / self.seconds:>12.0f}"
            f"{cuts[9] * 1e3:>10.0f} ms{cuts[18] * 1e3:>8.0f} ms{self.seconds:>9.1f} s"
        )


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


class Threads:
    """Counts how many threads there are at the most, beside those before it and its own."""

    def __init__(self) -> None:
        self._before = threading.active_count() + 1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self.most = 0

    def __enter__(self) -> Threads:  # noqa: PYI034 - nobody derives from it
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._stopped.wait(0.01):
            self.most = max(self.most, threading.active_count() - self._before)


WAYS: dict[str, Callable[[PlatformClient, Run, int, int], None]] = {
    "client.map": with_map,
    HINTED: with_map,
    "a thread each, Prefer: wait": with_threads,
    "one thread, every 0.5 s, requests": with_fixed_pace,
}


def measured(name: str, url: str, nats_url: str, executions: int, in_flight: int) -> Run:
    run = Run(name)
    count = partial(requests.get, f"{url}/count", timeout=10)
    count()
    with client(url, nats_url if name == HINTED else None) as platform, Threads() as threads:
        started = time.monotonic()
        WAYS[name](platform, run, executions, in_flight)
        run.seconds = time.monotonic() - started
    run.threads = threads.most
    run.requests = count().json()["requests"]
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out beside its peers.")
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    print(f"{options.executions} executions of 0.2 s to 2 s, {options.in_flight} in flight")
    print(
        f"{'':32}{'threads':>9}{'requests each':>16}{'requests/s':>12}{'late, p50':>13}{'late, p95':>11}{'in all':>11}"
    )
    with (
        TemporaryDirectory() as folder,
        NatsServer(folder) as nats_server,
        Server(fanout_server.__file__, nats_server.url) as server,
    ):
        for name in WAYS:
            run = measured(name, server.url, nats_server.url, options.executions, options.in_flight)
            print(run.line(options.executions))


if __name__ == "__main__":
    main()
