"""Fifty greenlets on one client, and two more whose time runs out."""

# ruff: noqa: E402 - what is patched has to be patched before it is imported
from __future__ import annotations

import sys
import time

if sys.argv[1] == "imported first":
    import flow_client

from gevent import monkey

monkey.patch_all()

import gevent
from answers import count_right, is_right, report

import flow_client

GREENLETS = 50


def out_of_time(client: flow_client.PlatformClient) -> tuple[str, float]:
    """Ask for what is never answered and return how that ended and how long it took."""
    started = time.monotonic()
    try:
        client.await_execution_result("hole-1", timeout_seconds=0.3)
    except flow_client.ExecutionWaitTimeout as error:
        return type(error).__name__, time.monotonic() - started
    return "answered", 0.0


def too_slow() -> tuple[str, float]:
    started = time.monotonic()
    with flow_client.PlatformClient(timeout=0.3) as client:
        try:
            client.get_execution_status("hole-2")
        except flow_client.PlatformTimeoutError as error:
            return type(error).__name__, time.monotonic() - started
    return "answered", 0.0


def main() -> None:
    with flow_client.PlatformClient() as client:
        late = [gevent.spawn(out_of_time, client), gevent.spawn(too_slow)]
        gathered = [gevent.spawn(is_right, client, f"gather-{number}") for number in range(GREENLETS)]
        busy = [gevent.spawn(count_right, client, f"greenlet{number}", 20) for number in range(GREENLETS)]
        report(
            {
                "gathered": sum(greenlet.get() for greenlet in gathered),
                "right": sum(greenlet.get() for greenlet in busy),
                "late": [greenlet.get() for greenlet in late],
            }
        )


main()
