"""How fast the bridge publishes, beside raw nats-py on the same server in the same run.

    python -m benchmarks.nats_events

Messages have 200 bytes. Ours and the peers take turns, and every figure is the median of the turns. An event counts
when JetStream has acknowledged it. Plain streams are what a platform has; batched ones allow batched publishing. The
round trip of 5 ms comes from a relay process in between. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.nats_peers import Ours, Raw
from flow_client.local.nats_server import NatsServer
from tests.support.jetstream import create_streams
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TURNS = 5
ONE_WAY_DELAY = 0.0025
OUR_EVENTS = 20_000
CALLS = 200
CALL_TURNS = 20
ONE_BY_ONE = "await js.publish"
PIPELINED = "publish_async"
PLAIN_TARGETS = {ONE_BY_ONE: 8, PIPELINED: 1.2}
BATCHED_TARGETS = {ONE_BY_ONE: 11}
FAR_TARGETS = {ONE_BY_ONE: 250}
CALL_TARGET = 7.0
OUTPUT_TARGET = 2.0
COLUMNS = ("work", "unit", "ours", "peer", "peer's", "ratio", "target", "")


@dataclass(frozen=True)
class Row:
    """One line of the table; without a target it only informs."""

    work: str
    unit: str
    ours: float
    peer: str
    theirs: float | None
    target: str = ""
    met: bool = True

    def cells(self) -> tuple[str, ...]:
        """Return the columns as text."""
        ratio = "" if self.theirs is None else f"{self.ours / self.theirs:.2f}x"
        verdict = "" if not self.target else "met" if self.met else "MISSED"
        theirs = "" if self.theirs is None else _number(self.theirs)
        return (self.work, self.unit, _number(self.ours), self.peer, theirs, ratio, self.target, verdict)


def main() -> int:
    """Run all measurements and print the table."""
    with _servers() as (plain, batched, far_plain, far_batched):
        rows = [
            *_events("events, plain streams", plain, 2_000, PLAIN_TARGETS),
            *_events("events, batched streams", batched, 2_000, BATCHED_TARGETS),
            *_events("events, plain streams, 5 ms", far_plain, 100, FAR_TARGETS),
            *_events("events, batched streams, 5 ms", far_batched, 100, {}),
            _event_call(plain),
            _output_call(plain),
        ]
    _print_table([COLUMNS, *(row.cells() for row in rows)])
    return 0 if all(row.met for row in rows) else 1


@contextlib.contextmanager
def _servers() -> Iterator[tuple[str, str, str, str]]:
    """Yield the addresses of a server with plain streams and of one with batched ones, near and from far away."""
    with contextlib.ExitStack() as running:
        folder = running.enter_context(tempfile.TemporaryDirectory())
        near: list[str] = []
        far: list[str] = []
        for mode in ("window", "batch"):
            server = running.enter_context(NatsServer(Path(folder) / mode))
            relay = running.enter_context(Relay(server.port, ONE_WAY_DELAY))
            create_streams(server.url, mode)
            near.append(server.url)
            far.append(server.url.replace(f":{server.port}", f":{relay.port}"))
        yield near[0], near[1], far[0], far[1]


def _events(work: str, url: str, one_by_one: int, targets: Mapping[str, float]) -> list[Row]:
    """Measure events per second; the peers that wait for each one publish `one_by_one` of them in a turn.

    `targets` says how many times as many events ours must publish as a peer.
    """
    with contextlib.closing(Ours(url)) as ours, contextlib.closing(Raw(url)) as raw:
        rates = _rates(
            {
                "ours": (ours.events, OUR_EVENTS),
                ONE_BY_ONE: (raw.one_by_one, one_by_one),
                PIPELINED: (raw.pipelined, OUR_EVENTS // 2),
                "run_coroutine_threadsafe each": (raw.hop_each, one_by_one),
            }
        )
    own, own_cost = rates.pop("ours")
    rows = [_rate_row(work, own, peer, rate, targets.get(peer)) for peer, (rate, _) in rates.items()]
    return [*rows, Row("  processor time of an event", "us", own_cost, PIPELINED, rates[PIPELINED][1])]


def _rate_row(work: str, own: float, peer: str, rate: float, target: float | None) -> Row:
    first = work if peer == ONE_BY_ONE else ""
    if target is None:
        return Row(first, "events/s", own, peer, rate)
    return Row(first, "events/s", own, peer, rate, f">= {target:g}x", own >= target * rate)


def _rates(publishers: dict[str, tuple[Callable[[int], float], int]]) -> dict[str, tuple[float, float]]:
    """Return each publisher's messages per second and microseconds of processor time, from turns that they take.

    The time does not contain what the server takes. On a busy machine it says more than the rate.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in publishers}
    for _ in range(TURNS):
        for name, (publish, count) in publishers.items():
            started = time.process_time()
            rate = count / publish(count)
            found[name].append((rate, (time.process_time() - started) / count * 1e6))
    return {
        name: (median(rate for rate, _ in turns), median(cost for _, cost in turns)) for name, turns in found.items()
    }


def _event_call(url: str) -> Row:
    with contextlib.closing(Ours(url)) as ours:
        calls = [seconds for _ in range(CALL_TURNS) for seconds in ours.event_calls(CALLS)]
    own = median(calls) * 1e6
    return Row("push_execution_event alone, p50", "us", own, "", None, f"<= {CALL_TARGET:g} us", own <= CALL_TARGET)


def _output_call(url: str) -> Row:
    """Measure over several connections: what two threads take depends on the cores that they came to run on."""
    own: list[float] = []
    theirs: list[float] = []
    for _ in range(TURNS):
        with contextlib.closing(Ours(url)) as ours, contextlib.closing(Raw(url)) as raw:
            for _ in range(CALL_TURNS):
                own += ours.output_calls(CALLS // 10)
                theirs += raw.publish_calls(CALLS // 10)
    ratio = median(own) / median(theirs)
    figures = (median(own) * 1e6, ONE_BY_ONE, median(theirs) * 1e6)
    return Row("push_execution_output, p50", "us", *figures, f"<= {OUTPUT_TARGET:g}x", ratio <= OUTPUT_TARGET)


def _print_table(lines: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
