"""Ctrl-C in the middle of a call; the client is used again afterwards."""

from __future__ import annotations

import logging
import sys
import time

from answers import is_right, report

from flow_client import PlatformClient

WAYS = {
    "request": lambda client: client.get_execution_status("hole-1"),
    "back-off": lambda client: client.get_execution_status("busy-1"),
    "wait": lambda client: client.await_execution_result("running-1"),
    "held wait": lambda client: client.await_execution_result("hole-1"),
}


def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    client = PlatformClient()
    is_right(client, "warm-1")
    try:
        WAYS[sys.argv[1]](client)
    except KeyboardInterrupt:
        interrupted = time.monotonic()
    right = is_right(client, "after-1")
    report({"interrupted": interrupted, "usable": right})


main()
