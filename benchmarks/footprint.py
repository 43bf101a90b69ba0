"""What one process with a client costs: memory, threads and connections.

    python -m benchmarks.footprint

Each row is measured in a process of its own. Memory is what the row's work adds to a process that has imported nothing
of ours; it is not shared with other processes.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLING = 2.0
"""Seconds until a row is measured: threads and connections that come later than the work are there by then."""


@dataclass(frozen=True)
class Cost:
    """What a process has more than an idle one."""

    megabytes: float
    threads: int
    http: int
    nats: int


class Process:
    """A process that does a row's work."""

    def __init__(self, url: str, nats_url: str) -> None:
        self._stack = ExitStack()
        self.url = url
        self.nats_url = nats_url

    def client(self, nats_url: str | None = None) -> Any:
        from benchmarks.peers import client  # noqa: PLC0415 - importing it is a part of the cost

        return self._stack.enter_context(client(self.url, nats_url))

    def bridge(self) -> Any:
        from flow_client import NatsBridge  # noqa: PLC0415 - as above

        return self._stack.enter_context(NatsBridge(self.nats_url))


def one_call(process: Process) -> object:
    return process.client().get_execution_status("ended-1")


def calls_in_32_threads(process: Process) -> object:
    client = process.client()
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(client.get_execution_status, [f"slow-{number}" for number in range(320)]))


def futures(process: Process, count: int, nats_url: str | None = None) -> object:
    client = process.client(nats_url)
    return [client.execution(f"running-{number}").future() for number in range(count)]


def some_futures(process: Process) -> object:
    return futures(process, 1_000)


def many_futures(process: Process) -> object:
    return futures(process, 10_000)


def futures_with_nats(process: Process) -> object:
    return futures(process, 1_000, process.nats_url)


def events(process: Process) -> object:
    bridge = process.bridge()
    for number in range(1_000):
        bridge.push_execution_event("d-1", "e-1", "chunk", {"number": number})
    bridge.flush()
    return bridge


def readers(process: Process) -> object:
    bridge = process.bridge()
    bridge.push_execution_event("d-1", "e-1", "chunk", {})
    bridge.flush()
    streams = [bridge.events("e-1") for _ in range(10)]
    return [*streams, *(list(islice(stream, 1)) for stream in streams)]


ROWS: dict[str, Callable[[Process], object]] = {
    "one call": one_call,
    "320 calls in 32 threads": calls_in_32_threads,
    "1,000 futures": some_futures,
    "1,000 futures, with NATS": futures_with_nats,
    "10,000 futures": many_futures,
    "NatsBridge, 1,000 events": events,
    "NatsBridge, 10 readers of events": readers,
}


def measured(name: str, url: str, nats_url: str) -> Cost:
    this, process = psutil.Process(), Process(url, nats_url)
    memory, threads = this.memory_full_info().uss, this.num_threads()
    results = ROWS[name](process)
    time.sleep(SETTLING)
    ports = [each.raddr.port for each in this.net_connections() if each.status == psutil.CONN_ESTABLISHED]
    cost = Cost(
        (this.memory_full_info().uss - memory) / 2**20,
        this.num_threads() - threads,
        ports.count(urlsplit(url).port or 0),
        ports.count(urlsplit(nats_url).port or 0),
    )
    del results
    return cost


def main() -> None:
    from benchmarks.http_server import Server  # noqa: PLC0415 - only the parent needs them
    from flow_client.local.nats_server import NatsServer  # noqa: PLC0415 - as above
    from tests.support.jetstream import create_streams  # noqa: PLC0415 - as above

    print(f"{'':34}{'memory':>10}{'threads':>10}{'HTTP':>8}{'NATS':>8}")
    with TemporaryDirectory() as folder, NatsServer(folder) as nats_server, Server() as server:
        create_streams(nats_server.url)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            for name in ROWS:
                cost = pool.apply(measured, (name, server.url, nats_server.url))
                print(f"{name:34}{cost.megabytes:>6.0f} MiB{cost.threads:>10}{cost.http:>8}{cost.nats:>8}")


if __name__ == "__main__":
    main()
