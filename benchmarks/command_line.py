"""What the command line costs before it does anything, beside Python itself: whole processes.

Run it with `make bench` or `python -m benchmarks.command_line`; it takes about ten seconds.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.http_server import Server
from benchmarks.table import Row, milliseconds, show

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = (sys.executable, "-m", "flow_client")
ROUNDS = 15
LIMIT = 0.060
COMPLETION = {"_FLOW_CLIENT_COMPLETE": "bash_complete", "COMP_WORDS": "flow-client ru", "COMP_CWORD": "1"}
PEERS = "import requests, pydantic"
STATUS_RATIO = 1.3


def rows(url: str) -> list[Row]:
    settings = {"PLATFORM_API_URL": url, "AUTH_TOKEN": "t", "ORG_ID": "o", "WORKSPACE_ID": "w"}
    commands: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
        "bare": ((sys.executable, "-c", "pass"), {}),
        "requests": ((sys.executable, "-c", "import requests"), {}),
        "peers": ((sys.executable, "-c", PEERS), {}),
        "flow-client --help": ((*PROGRAM, "--help"), {}),
        "flow-client --version": ((*PROGRAM, "--version"), {}),
        "completion of `flow-client ru`": (PROGRAM, COMPLETION),
        "flow-client run --help": ((*PROGRAM, "run", "--help"), {}),
        "status": ((*PROGRAM, "status", "e-1"), settings),
    }
    took = _best(commands)
    starts = [name for name in commands if "flow-client" in name]
    return [*(_start(name, took) for name in starts), _status(took)]


def _start(name: str, took: dict[str, float]) -> Row:
    return Row(
        work=name,
        against=f"bare Python {milliseconds(took['bare'])}, import requests",
        target=f"≤ {milliseconds(LIMIT)}",
        ours=milliseconds(took[name]),
        peer=milliseconds(took["requests"]),
        ratio=f"{took[name] / took['requests']:.2f}x",
        holds=took[name] <= LIMIT,
    )


def _status(took: dict[str, float]) -> Row:
    return Row(
        work="flow-client status ID, whole",
        against=f"python -c '{PEERS}'",
        target=f"≤ {STATUS_RATIO}x",
        ours=milliseconds(took["status"]),
        peer=milliseconds(took["peers"]),
        ratio=f"{took['status'] / took['peers']:.2f}x",
        holds=took["status"] <= STATUS_RATIO * took["peers"],
    )


def _best(commands: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]) -> dict[str, float]:
    """Return the shortest time of each; they take turns, so that whatever else the machine does meets all of them."""
    took = dict.fromkeys(commands, float("inf"))
    for _ in range(ROUNDS):
        for name, (command, variables) in commands.items():
            started = time.perf_counter()
            subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False)
            took[name] = min(took[name], time.perf_counter() - started)
    return took


def main() -> None:
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, click {version('click')}")
    with Server() as server:
        show(rows(server.url))


if __name__ == "__main__":
    main()
