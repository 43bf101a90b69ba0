"""The local platform: how long it takes to start, to run an execution and to end.

Run it with `make bench` or `python -m benchmarks.local_platform [--executions 300]`. The handler counts the words of a
short text. Beside it stands what a platform pays that starts a new interpreter for each execution: the start of one
that imports what a worker needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.table import Row, milliseconds, show
from flow_client.local import LocalPlatform

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client import PlatformClient

START, STOP, RUN, RATE = 0.5, 0.3, 0.04, 100
REPETITIONS = 5
ONE_BY_ONE = 50
MANIFEST = '[[component]]\nkind = "code_block"\nid = "count-words"\nhandler = "words:count"\n'
HANDLER = 'def count(task):\n    return len(task.input_data["text"].split())\n'
INPUT = {"text": "to be or not to be"}
NEW_WORKER = [sys.executable, "-c", "import flow_client.worker"]


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that `call` takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def starts_and_stops(manifest: Path) -> tuple[float, float]:
    """Return the medians of a platform's start and stop."""
    platforms = [LocalPlatform(manifest) for _ in range(REPETITIONS)]
    times = []
    for platform in platforms:
        start = timed(platform.start)
        time.sleep(1)  # as for those who run something: the zygote has begun to import
        times.append((start, timed(platform.stop)))
    return median(start for start, _ in times), median(stop for _, stop in times)


def one_by_one(client: PlatformClient) -> float:
    """Return the median time from a submission to its terminal record, with one execution at a time."""
    run = partial(client.submit_code_block_execution, "count-words", INPUT)
    return median(timed(lambda: run().wait()) for _ in range(ONE_BY_ONE))


def at_once(client: PlatformClient, executions: int) -> float:
    """Return the executions per second when they are submitted as fast as possible."""
    submit = partial(client.submit_code_block_execution, "count-words")
    return executions / timed(lambda: list(client.map(submit, [INPUT] * executions)))


def measure(manifest: Path, executions: int) -> list[Row]:
    """Return the rows of the table."""
    process = median(timed(partial(subprocess.run, NEW_WORKER, check=True)) for _ in range(REPETITIONS))
    start, stop = starts_and_stops(manifest)
    with LocalPlatform(manifest) as platform, platform.client() as client:
        client.execute_code_block("count-words", INPUT, None)
        run, rate = one_by_one(client), at_once(client, executions)
    against = "the start of a new worker's interpreter"
    return [
        _row("start", START, start),
        _row("stop", STOP, stop),
        Row(
            "submission to record, median",
            against,
            f"<= {milliseconds(RUN)}",
            milliseconds(run),
            milliseconds(process),
            f"{process / run:.1f}",
            run <= RUN,
        ),
        Row(
            "executions per second",
            against,
            f">= {RATE}",
            f"{rate:.0f}",
            f"{1 / process:.0f}",
            f"{rate * process:.1f}",
            rate >= RATE,
        ),
    ]


def _row(work: str, target: float, ours: float) -> Row:
    return Row(work, "", f"<= {milliseconds(target)}", milliseconds(ours), "", "", ours <= target)


def main() -> int:
    """Print the table, and return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=300)
    with TemporaryDirectory() as folder:
        manifest = Path(folder, "components.toml")
        manifest.write_text(MANIFEST, encoding="utf-8")
        Path(folder, "words.py").write_text(HANDLER, encoding="utf-8")
        rows = measure(manifest, parser.parse_args().executions)
    show(rows)
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
