"""A small HTTP server in a process of its own: raw sockets, keep-alive, an answer in one send, no Nagle.

The first part of an execution's id says what it does: `slow-…` is answered after 50 ms; `held-…` ends at a random
moment, and its answer is held until then and says when that was; `running-…` does not end; any other has ended. They
are answered at once with 1 KiB.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Self

SLOW = 0.05
LONGEST_RUN = 0.4
ANSWER_BYTES = 1024


class Server:
    """The server's process, ended by its id."""

    def __init__(self, program: str = __file__, *arguments: str) -> None:
        self._process = subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None:
            raise RuntimeError("the server has no standard output")
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


def record(execution_id: str, output: object) -> bytes:
    """Return an execution's record of 1 KiB."""
    status = "running" if execution_id.startswith("running") else "completed"
    fields = {"execution_id": execution_id, "status": status, "output": output, "filler": ""}
    fields["filler"] = "x" * (ANSWER_BYTES - len(json.dumps(fields)))
    return json.dumps(fields).encode()


def answer(execution_id: str) -> bytes:
    kind = execution_id.partition("-")[0]
    output = None
    if kind == "slow":
        time.sleep(SLOW)
    if kind == "held":
        time.sleep(random.uniform(0.01, LONGEST_RUN))
        output = {"ended": time.monotonic()}
    body = record(execution_id, output)
    preference = "Preference-Applied: wait\r\n" if kind == "held" else ""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{preference}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), connection, connection.makefile("rb") as stream:
        while execution_id := next_execution(stream):
            connection.sendall(answer(execution_id))


def next_execution(stream: BinaryIO) -> str:
    """Return the execution that the next request asks for; empty at the end of the connection."""
    line = stream.readline()
    while line and stream.readline() not in (b"\r\n", b""):
        pass
    return line.split()[1].rpartition(b"/")[2].decode() if line else ""


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
