"""A small platform in a process of its own that counts: executions that end at a random moment.

A submission starts one. A look at it is held until its end where `Prefer: wait` asks for that, and the record of one
that has ended says when it did; so does a status over NATS. `GET /count` answers how many requests there were since the
last time. The one argument is the URL of NATS.
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

SHORTEST_RUN = 0.2
LONGEST_RUN = 2.0


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
    """The executions and the count of the requests."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._ends: dict[str, float] = {}
        self._numbers = itertools.count()
        self._requests: deque[None] = deque()

    def answer(self, method: str, path: str, hold: float) -> dict[str, Any]:
        if path == "/count":
            requests, self._requests = self._requests, deque()
            return {"requests": len(requests)}
        self._requests.append(None)
        return self._submit() if method == "POST" else self._look(path.rpartition("/")[2], hold)

    def _submit(self) -> dict[str, Any]:
        execution_id = f"run-{next(self._numbers)}"
        seconds = random.uniform(SHORTEST_RUN, LONGEST_RUN)
        self._ends[execution_id] = time.monotonic() + seconds
        self._announcer.announce(execution_id, seconds)
        return {"execution_id": execution_id, "status": "queued"}

    def _look(self, execution_id: str, hold: float) -> dict[str, Any]:
        end = self._ends[execution_id]
        time.sleep(max(0.0, min(hold, end - time.monotonic())))
        status = "completed" if time.monotonic() >= end else "running"
        return {"execution_id": execution_id, "status": status, "output": {"ended": end}}


def serve(connection: socket.socket, platform: Platform) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), connection, connection.makefile("rb") as stream:
        while request := read(stream):
            method, path, hold = request
            body = json.dumps(platform.answer(method, path, hold)).encode()
            held = "Preference-Applied: wait\r\n" if hold else ""
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{held}Content-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


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
