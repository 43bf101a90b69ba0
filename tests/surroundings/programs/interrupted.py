"""Ctrl-C in the middle of a call; the client is used again afterwards."""

from __future__ import annotations

import logging
import sys
import time

from answers import is_right, report

from flow_client import PlatformClient

CANCEL = {"ring_id": "r-1", "on_interrupt": "cancel"}
WAYS = {
    "request": lambda client: client.get_execution_status("hole-1"),
    "back-off": lambda client: client.get_execution_status("busy-1"),
    "wait": lambda client: client.await_execution_result("running-1"),
    "held wait": lambda client: client.await_execution_result("hole-1"),
    "held wait, cancel": lambda client: client.await_execution_result("hole-1", on_interrupt="cancel"),
    "handle's wait": lambda client: client.execution("running-1").wait(),
    "handle's wait, cancel": lambda client: client.execution("running-1").wait(on_interrupt="cancel"),
    "handle's result, cancel": lambda client: client.execution("running-1").result(on_interrupt="cancel"),
    "await, cancel": lambda client: client.await_execution_result("running-1", on_interrupt="cancel"),
    "code block": lambda client: client.execute_code_block("running-1", {}, None, ring_id="r-1"),
    "code block, cancel": lambda client: client.execute_code_block("running-1", {}, None, **CANCEL),
    "workflow, cancel": lambda client: client.execute_workflow("running-1", {}, **CANCEL),
    "agent, cancel": lambda client: client.execute_agent("running-1", {}, None, "isolated", **CANCEL),
    "future": lambda client: client.execution("running-1").future().result(),
    "map": lambda client: list(client.map(client.execution, ["running-1", "running-2"])),
}


def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    client = PlatformClient()
    is_right(client, "warm-1")
    try:
        WAYS[sys.argv[1]](client)
    except KeyboardInterrupt as interrupt:
        interrupted = time.monotonic()
        notes = getattr(interrupt, "__notes__", [])
    right = is_right(client, "after-1")
    report({"interrupted": interrupted, "usable": right, "notes": notes})


main()
