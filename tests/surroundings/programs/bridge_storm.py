"""A storm of signals on a bridge: handlers raise, push, flush or publish themselves, at any point of the main thread.

    python bridge_storm.py EXECUTION_ID SECONDS SEED

Reports what was pushed for certain, and what was attempted: an interrupted push may be stored or not.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import random
import signal
import sys
import time

from answers import report

from flow_client import ClientClosedError, NatsBridge, UndeliveredError

LONGEST_CALL = 30
"""Seconds that any call may take: more is a freeze."""
PACE = 0.0002


class Interrupted(BaseException):
    """Raised by the handler, where no `except Exception` sees it."""


class Writer:
    """Pushes numbers, and notes which of them were taken for certain."""

    def __init__(self, name: str, execution_id: str) -> None:
        self.name = name
        self.execution_id = execution_id
        self.numbers = itertools.count(1)
        self.certain: list[int] = []

    def push(self, bridge: NatsBridge) -> None:
        number = next(self.numbers)
        bridge.push_execution_event(None, self.execution_id, "chunk", [self.name, number])
        self.certain.append(number)


class Storm:
    """What the main thread does, and what signals do to it."""

    def __init__(self, execution_id: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.main, self.handler = Writer("main", execution_id), Writer("handler", execution_id)
        self.execution_id = execution_id
        self.bridge = self.open()
        self.counts = dict.fromkeys(("interrupts", "calls in handlers", "bridges", "undelivered"), 0)

    def open(self) -> NatsBridge:
        return NatsBridge(max_unacked=300, close_timeout=LONGEST_CALL, publish_timeout=LONGEST_CALL)

    def arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self.random.choice((0.0001, 0.0003, 0.001, 0.01)))

    def handle(self, *_: object) -> None:
        kind = self.random.random()
        try:
            if kind < 0.5:
                self.counts["interrupts"] += 1
                raise Interrupted
            self.counts["calls in handlers"] += 1
            with contextlib.suppress(ClientClosedError):  # the main thread is closing it
                self.call_within(kind)
        finally:
            self.arm()

    def call_within(self, kind: float) -> None:
        self.handler.push(self.bridge)
        if kind > 0.98:
            self.bridge.flush()
        elif kind > 0.96:
            self.bridge.publish_execution_status(self.execution_id, "running")

    def step(self) -> None:
        faulthandler.dump_traceback_later(2 * LONGEST_CALL, exit=True)
        for _ in range(20):
            self.main.push(self.bridge)
            time.sleep(PACE)
        kind = self.random.random()
        if kind < 0.05:
            self.bridge.flush()
        elif kind < 0.1:
            self.bridge.publish_execution_status(self.execution_id, "running")
        elif kind < 0.12:
            self.renew()

    def renew(self) -> None:
        """Close the bridge, as often as it takes, and open another."""
        while True:
            with contextlib.suppress(Interrupted):
                self.bridge.close()
                self.bridge = self.open()
                self.counts["bridges"] += 1
                return

    def go_on(self) -> None:
        try:
            self.step()
        except ClientClosedError:  # an interrupt fell between the closing and the opening
            self.renew()
        except UndeliveredError as error:
            self.counts["undelivered"] += error.undelivered

    def blow(self, end: float) -> None:
        signal.signal(signal.SIGALRM, self.handle)
        self.arm()
        while time.monotonic() < end:
            with contextlib.suppress(Interrupted):
                self.go_on()
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def main() -> None:
    execution_id, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    storm, end = Storm(execution_id, seed), time.monotonic() + seconds
    while True:
        try:
            storm.blow(end)
            break
        except Interrupted:  # it fell between two steps
            pass
    storm.main.push(storm.bridge)
    storm.bridge.close()
    report({"counts": storm.counts, "main": storm.main.certain, "handler": storm.handler.certain})


if __name__ == "__main__":
    main()
