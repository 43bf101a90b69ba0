"""A real HTTP server on raw sockets whose every answer says which execution was asked for.

The first part of an execution's id says how the server treats it:

* `gather-…`: it is held until as many are there as the server gathers,
* `hole-…`: it is never answered,
* `busy-…`: 503, to be asked again in 30 s,
* `flaky-…`: every other time 503,
* `cut-…`: the connection ends in the middle of the answer,
* `running-…`: an execution that does not end,
* any other: an execution that has completed.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

STALE_TOKEN = "stale"


@dataclass
class Request:
    execution_id: str
    headers: dict[str, str]
    is_cancellation: bool

    @property
    def kind(self):
        return self.execution_id.partition("-")[0]

    @property
    def is_refused(self):
        return self.headers.get("authorization") == f"Bearer {STALE_TOKEN}"


class EchoServer:
    """Serves each connection in a thread of its own. `seen` counts the requests by execution id, `cancelled` some.

    A submission is answered as if its execution had the component's id.
    """

    def __init__(self, gather: int = 1, certificate: Any = None):
        self.seen: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self.busiest = 0
        self._under_way = 0
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._barrier = threading.Barrier(gather)
        self._tls = _tls_context(certificate) if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self):
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def wait_for(self, execution_id, times=1, seconds=60.0):
        """Wait until `execution_id` was asked for so many times; return whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: self.seen[execution_id] >= times, seconds)

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._barrier.abort()
        _end(self._listener)
        self._threads[0].join()
        for connection in self._connections:
            _end(connection)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with suppress(OSError), self._secured(connection) as secured, secured.makefile("rb") as stream:
            while (request := _read(stream)) is not None:
                secured.sendall(self._answer(request))
                if request.kind == "cut":
                    return

    def _secured(self, connection):
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _answer(self, request):
        self._note(request, 1)
        try:
            if request.is_refused:
                return _message("401 Unauthorized", {"detail": "the token has expired"})
            return self._echo(request)
        finally:
            self._note(request, -1)

    def _note(self, request, change):
        with self._changed:
            self._under_way += change
            self.busiest = max(self.busiest, self._under_way)
            self.seen[request.execution_id] += change > 0
            if change > 0 and request.is_cancellation:
                self.cancelled[request.execution_id] += 1
            self._changed.notify_all()

    def _echo(self, request):
        if request.kind == "gather":
            return self._gathered(request)
        if request.kind == "hole":
            self._stopped.wait()
        if request.kind == "busy":
            return _message("503 Service Unavailable", {"detail": "busy"}, "Retry-After: 30\r\n")
        if request.kind == "flaky" and self.seen[request.execution_id] % 2:
            return _message("503 Service Unavailable", {"detail": "once more"}, "Retry-After: 0\r\n")
        answer = _message("200 OK", _record(request))
        return answer[:-10] if request.kind == "cut" else answer

    def _gathered(self, request):
        try:
            self._barrier.wait(timeout=20)
        except threading.BrokenBarrierError:
            return _message("400 Bad Request", {"detail": "the others did not come"})
        return _message("200 OK", _record(request))


def _read(stream):
    """Return the next request, None at the end of the connection."""
    line = stream.readline()
    if not line:
        return None
    headers = {}
    while (field := stream.readline().strip()) != b"":
        name, _, value = field.decode().partition(":")
        headers[name.lower()] = value.strip()
    stream.read(int(headers.get("content-length", 0)))
    path, _, verb = line.split()[1].decode().rpartition("/")
    is_action = verb in ("cancel", "executions")
    return Request(path.rpartition("/")[2] if is_action else verb, headers, verb == "cancel")


def _record(request):
    status = "running" if request.kind == "running" else "completed"
    return {"execution_id": request.execution_id, "status": status, "output": f"output of {request.execution_id}"}


def _message(status, body, fields=""):
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{fields}\r\n"
    return head.encode() + content


def _tls_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.with_suffix(".pem"), certificate.with_suffix(".key"))
    return context


def _end(sock):
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
