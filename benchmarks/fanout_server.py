"""A small platform in a process of its own that counts: executions that end at a random moment.

A submission starts one. A poll of it is held until its end where `Prefer: wait` asks for that and the platform holds;
the record of one that has ended says when it did, and so does a status over NATS. `GET /start/N` starts N executions at
once. `GET /count` answers how many requests there were since the last time, and how many were refused. `GET
/set/NAME/VALUE` changes a setting: `delay` (seconds before an answer), `allowed` (polls a second, 429 beyond that),
`shortest` and `longest` (seconds of an execution), `holds` (1 or 0). The one argument is the URL of NATS.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, BinaryIO

import nats

RETRY_AFTER = 1
ON_THE_WAY = 0.1
"""Seconds after a refusal in which polls may arrive that were sent before it."""


class Announcer:
    """Publishes statuses, from an event loop in a thread."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._nats = asyncio.run_coroutine_threadsafe(nats.connect(url), self._loop).result(timeout=10)

    def announce(self, execution_id: str, delay: float) -> None:
        self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._publish, execution_id)

    def _publish(self, execution_id: str) -> None:
        said = self._nats.publish(f"exec.status.{execution_id}", b'{"status": "completed"}')
        asyncio.ensure_future(said)  # noqa: RUF006 - it does not wait for anything


class Platform:
    """The executions, the settings and the counts."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._ends: dict[str, float] = {}
        self._numbers = itertools.count()
        self._requests: deque[None] = deque()
        self._polls: deque[float] = deque()
        self._refused: deque[float] = deque()
        self._early: deque[None] = deque()
        self._started = 0
        self.settings = {"delay": 0.0, "allowed": 1e9, "shortest": 0.2, "longest": 2.0, "holds": 1.0}

    def control(self, path: str) -> dict[str, Any] | None:
        """Answer a request about the platform itself, None if it is another one."""
        kind, _, rest = path[1:].partition("/")
        if kind == "set":
            name, _, value = rest.partition("/")
            self.settings[name] = float(value)
            return {}
        if kind == "start":
            self._started += int(rest)
            return {"ids": [self._submit()["execution_id"] for _ in range(int(rest))]}
        if kind == "count":
            counts = {
                "requests": len(self._requests),
                "started": self._started,
                "refused": len(self._refused),
                "early": len(self._early),
            }
            self._requests, self._refused, self._early, self._started = deque(), deque(), deque(), 0
            return counts
        return None

    def answer(self, method: str, path: str, hold: float) -> dict[str, Any] | None:
        """Answer a request, None to refuse it."""
        self._requests.append(None)
        time.sleep(self.settings["delay"])
        if method == "POST":
            return self._submit()
        return self._poll(path.rpartition("/")[2], hold * self.settings["holds"]) if self._is_allowed() else None

    def _is_allowed(self) -> bool:
        now = time.monotonic()
        if self._refused and ON_THE_WAY < now - self._refused[-1] < RETRY_AFTER:
            self._early.append(None)
        while self._polls and self._polls[0] <= now - 1:
            self._polls.popleft()
        is_allowed = len(self._polls) < self.settings["allowed"]
        (self._polls if is_allowed else self._refused).append(now)
        return is_allowed

    def _submit(self) -> dict[str, Any]:
        execution_id = f"run-{next(self._numbers)}"
        seconds = random.uniform(self.settings["shortest"], self.settings["longest"])
        self._ends[execution_id] = time.monotonic() + seconds
        self._announcer.announce(execution_id, seconds)
        return {"execution_id": execution_id, "status": "queued"}

    def _poll(self, execution_id: str, hold: float) -> dict[str, Any]:
        end = self._ends[execution_id]
        time.sleep(max(0.0, min(hold, end - time.monotonic())))
        status = "completed" if time.monotonic() >= end else "running"
        return {"execution_id": execution_id, "status": status, "output": {"ended": end}}


def serve(connection: socket.socket, platform: Platform) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), connection, connection.makefile("rb") as stream:
        while request := read(stream):
            method, path, hold = request
            connection.sendall(answer_to(platform, method, path, hold))


def answer_to(platform: Platform, method: str, path: str, hold: float) -> bytes:
    answer = platform.control(path)
    answer = platform.answer(method, path, hold) if answer is None else answer
    status, headers = ("200 OK", "") if answer is not None else ("429 Too Many", f"Retry-After: {RETRY_AFTER}\r\n")
    if hold and platform.settings["holds"]:
        headers += "Preference-Applied: wait\r\n"
    body = json.dumps(answer or {}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def read(stream: BinaryIO) -> tuple[str, str, float] | None:
    """Return the next request's method, path and wish to be held; None at the end of the connection."""
    line = stream.readline().decode()
    length, hold = 0, 0.0
    while line and (field := stream.readline().decode().lower().strip()):
        name, _, value = field.partition(":")
        length = int(value) if name == "content-length" else length
        hold = float(value.partition("=")[2]) if name == "prefer" else hold
    stream.read(length)
    return (*line.split()[:2], hold) if line else None  # type: ignore[return-value]


def main() -> None:
    platform = Platform(Announcer(sys.argv[1]))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, platform), daemon=True).start()


if __name__ == "__main__":
    main()
