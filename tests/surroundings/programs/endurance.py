"""Many calls, some of which fail: what they leave behind."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc

import psutil
from answers import is_right, report

from flow_client import PlatformClient, PlatformConnectionError, PlatformServerError

CALLS = int(sys.argv[1])
FAILING = {0: ("busy", PlatformServerError), 7: ("cut", PlatformConnectionError)}


def call(client: PlatformClient, number: int) -> str:
    kind, _ = FAILING.get(number % 20, ("call", None))
    try:
        return "right" if is_right(client, f"{kind}-{number}") else "wrong"
    except tuple(error for _, error in FAILING.values()):
        return "failed"


def held() -> dict[str, int]:
    """Return what the process holds, after what is garbage has gone."""
    gc.collect()
    return {
        "threads": threading.active_count(),
        "files": psutil.Process().num_fds(),
        "bytes": tracemalloc.get_traced_memory()[0],
    }


def main() -> None:
    with PlatformClient(max_attempts=1) as client:
        tracemalloc.start()
        for number in range(200):
            call(client, number)
        before = held()
        outcomes = [call(client, number) for number in range(CALLS)]
        after = held()
    report(
        {
            "growth": {name: after[name] - before[name] for name in before},
            "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        }
    )


main()
