"""Publish while servers are killed, frozen and cut off, and count what is lost, repeated or reordered.

    python tests/chaos/chaos.py [--kills 50] [--leader-kills 20] [--step-downs 20] [--cuts 30] [--freezes 10]
                                [--mode batch|window|both] [--full-speed]

`batch` streams allow batched publishing, `window` streams do not. With `--full-speed` a fault finds as much under way
as there ever is. Otherwise raw nats-py publishes beside the bridge, once going
on after an error and once trying again. Exits with 1 if the bridge lost, repeated or reordered anything.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The folder of the tests, in place of this one, in which this file hides the package `chaos`.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from chaos.findings import Findings  # noqa: E402 - only now can it be found
from chaos.scenes import Cluster, Server, perform  # noqa: E402 - as above
from chaos.writers import FULL_SPEED, STEADY  # noqa: E402 - as above
from support.jetstream import MODES  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = ("fault", "publisher", "faults", "events", "lost", "repeated", "reordered", "longest pause s")


@dataclass(frozen=True)
class Kind:
    """A kind of fault: where it happens and how often."""

    name: str
    count: int
    scene: Callable[..., Any]
    fault: str


@dataclass
class Row:
    """One row of the table."""

    faults: int
    findings: Findings


def main():
    """Run all kinds of fault and print the table."""
    options = _options()
    logging.getLogger("flow_client").setLevel(logging.ERROR)
    random.seed(options.seed)
    rows: dict[tuple[str, str], Row] = {}
    started = time.monotonic()
    for kind in _kinds(options):
        for mode in MODES if options.mode == "both" else (options.mode,):
            _run(kind, mode, rows, full_speed=options.full_speed)
            _say(f"{time.monotonic() - started:5.0f} s  {kind.name}, {mode}: done")
    _print_table(rows)
    return 0 if all(row.findings.clean for (_, name), row in rows.items() if name.startswith("ours")) else 1


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--leader-kills", type=int, default=20)
    parser.add_argument("--step-downs", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=30)
    parser.add_argument("--freezes", type=int, default=10)
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument("--full-speed", action="store_true", help="push as fast as possible, without a reference")
    parser.add_argument("--seed", type=int, default=None, help="for the same pauses again")
    return parser.parse_args()


def _kinds(options):
    def relayed(folder, mode):
        return Server(folder, mode, relayed=True)

    kinds = (
        Kind("kill -9", options.kills, Server, "kill"),
        Kind("cut", options.cuts, relayed, "cut"),
        Kind("freeze", options.freezes, Server, "freeze"),
        Kind("step-down", options.step_downs, Cluster, "step_down"),
        Kind("leader kill", options.leader_kills, Cluster, "kill_leader"),
    )
    return [kind for kind in kinds if kind.count]


def _run(kind, mode, rows, *, full_speed):
    options = {"pace": FULL_SPEED if full_speed else STEADY, "references": not full_speed}
    with tempfile.TemporaryDirectory() as folder, kind.scene(Path(folder), mode) as scene:
        results = perform(scene, [getattr(scene, kind.fault)] * kind.count, **options)
    for name, findings in results.items():
        row = rows.setdefault((kind.name, f"ours, {mode}" if name == "ours" else name), Row(0, Findings()))
        row.faults += kind.count
        row.findings += findings


def _print_table(rows):
    lines = [COLUMNS]
    for (kind, name), row in rows.items():
        found = row.findings
        counts = (row.faults, found.events, found.lost, found.repeated, found.reordered)
        lines.append((kind, name, *map(str, counts), f"{found.longest_pause:.1f}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        texts = [word.ljust(width) for word, width in zip(line[:2], widths, strict=False)]
        numbers = [word.rjust(width) for word, width in zip(line[2:], widths[2:], strict=True)]
        _say("  ".join(texts + numbers))
    for (kind, name), row in rows.items():
        for note in row.findings.notes:
            _say(f"{kind}, {name}: {note}")


def _say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
