"""Interrupts at any point of a call: no answer of one call may be taken for another's."""

from __future__ import annotations

import faulthandler
import gc
import random
import signal
import sys
import threading

import psutil
from answers import is_right, report

from flow_client import PlatformClient

CALLS = 10


def interrupted(client: PlatformClient, round_: int, wrong: list[str]) -> bool:
    """Make some calls, with an interrupt in the middle; return whether it came through."""
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
        call(client, round_, wrong)
        # One that hit a destructor is lost: Python only tells of it.
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def call(client: PlatformClient, round_: int, wrong: list[str]) -> None:
    # Not within `interrupted`: in CPython 3.13 an interrupt at a loop's jump back passes by the `try` around the loop.
    for number in range(CALLS):
        name = f"call{round_}-{number}"
        if not is_right(client, name):
            wrong.append(name)


def main() -> None:
    # A lock that an interrupt left behind stops the next call for good.
    faulthandler.dump_traceback_later(25, exit=True)
    random.seed(7)
    client = PlatformClient()
    is_right(client, "warm-1")
    files = psutil.Process().num_fds()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    wrong: list[str] = []
    interrupts = sum(interrupted(client, number, wrong) for number in range(int(sys.argv[1])))
    usable = sum(is_right(client, f"after-{number}") for number in range(10))
    gc.collect()
    report(
        {
            "interrupts": interrupts,
            "wrong": wrong,
            "usable": usable,
            "threads": threading.active_count(),
            "more_files": psutil.Process().num_fds() - files,
        }
    )


if __name__ == "__main__":
    main()
