"""Four children of a fork and their parent use one warm client at the same time."""

from __future__ import annotations

import os
import sys

from answers import count_right, report

from flow_client import PlatformClient

CHILDREN = 4
CALLS = 50


def child(client: PlatformClient, go: int, name: str, result: int) -> None:
    os.read(go, 1)
    os.write(result, bytes([count_right(client, name, CALLS)]))


def main() -> None:
    client = PlatformClient()
    count_right(client, "warm", 3)
    go, start = os.pipe()
    results = []
    for number in range(CHILDREN):
        outlet, inlet = os.pipe()
        if os.fork() == 0:
            child(client, go, f"child{number}", inlet)
            sys.exit()
        os.close(inlet)
        results.append(outlet)
    os.write(start, b"." * CHILDREN)
    right = [count_right(client, "parent", CALLS)]
    right += [sum(os.read(outlet, 1)) for outlet in results]
    exits = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in results]
    # What the children left behind at their end must not have been said on the parent's connections.
    right.append(count_right(client, "later", CALLS))
    report({"right": right, "exits": exits})


main()
