"""How fast the bridge publishes, beside raw nats-py on the same server in the same run.

    python -m benchmarks.nats_events

Messages have 200 bytes. Ours and the peers take turns, and every figure is the median of the turns. An event counts
when JetStream has acknowledged it. The round trip of 5 ms comes from a relay process in between. Exits with 1 if a
target is missed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.nats_peers import Ours, Raw
from flow_client.local.nats_server import NatsServer
from tests.support.jetstream import create_streams
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TURNS = 5
ONE_WAY_DELAY = 0.0025
OUR_EVENTS = 20_000
CALLS = 200
CALL_TURNS = 20
LOOPBACK_TARGET = 8
FAR_TARGET = 150
CALL_TARGET = 10.0
OUTPUT_TARGET = 2.5
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
    with _servers() as (batch_url, window_url, far_url):
        rows = [
            *_events("events, loopback", batch_url, 2_000, LOOPBACK_TARGET),
            *_events("events, no batched publishing", window_url, 2_000),
            *_events("events, 5 ms round trip", far_url, 100, FAR_TARGET),
            _event_call(batch_url),
            _output_call(batch_url),
        ]
    _print_table([COLUMNS, *(row.cells() for row in rows)])
    return 0 if all(row.met for row in rows) else 1


@contextlib.contextmanager
def _servers() -> Iterator[tuple[str, str, str]]:
    """Yield the addresses of a server, of one without batched publishing, and of the first one from far away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        NatsServer(Path(folder) / "batch") as batch,
        NatsServer(Path(folder) / "window") as window,
        Relay(batch.port, ONE_WAY_DELAY) as relay,
    ):
        create_streams(batch.url)
        create_streams(window.url, "window")
        yield batch.url, window.url, batch.url.replace(f":{batch.port}", f":{relay.port}")


def _events(work: str, url: str, one_by_one: int, at_least: float = 0) -> list[Row]:
    """Measure events per second; the peers that wait for each one publish `one_by_one` of them in a turn.

    The target is for streams that take batches; without them the figure informs.
    """
    with contextlib.closing(Ours(url)) as ours, contextlib.closing(Raw(url)) as raw:
        rates = _rates(
            {
                "ours": (ours.events, OUR_EVENTS),
                "await js.publish": (raw.one_by_one, one_by_one),
                "publish_async": (raw.pipelined, OUR_EVENTS // 2),
                "run_coroutine_threadsafe each": (raw.hop_each, one_by_one),
            }
        )
    own = rates.pop("ours")
    first, *others = rates.items()
    met = own >= at_least * first[1]
    return [
        Row(work, "events/s", own, *first, f">= {at_least}x" if at_least else "", met),
        *(Row("", "events/s", own, *other) for other in others),
    ]


def _rates(publishers: dict[str, tuple[Callable[[int], float], int]]) -> dict[str, float]:
    """Return each publisher's messages per second, from turns that they take one after the other."""
    found: dict[str, list[float]] = {name: [] for name in publishers}
    for _ in range(TURNS):
        for name, (publish, count) in publishers.items():
            found[name].append(count / publish(count))
    return {name: median(rates) for name, rates in found.items()}


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
    figures = (median(own) * 1e6, "await js.publish", median(theirs) * 1e6)
    return Row("push_execution_output, p50", "us", *figures, f"<= {OUTPUT_TARGET}x", ratio <= OUTPUT_TARGET)


def _print_table(lines: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
