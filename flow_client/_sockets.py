"""Connections that keep to one deadline, from the first connect to the last byte of the body.

A socket's own time-out bounds one read, so a peer that drips keeps a caller for as long as it likes. Here every read
sets the time-out to what is left of the exchange's deadline.
"""

from __future__ import annotations

import io
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket

    from flow_client._deadline import Deadline

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt to connect, TLS included: past it another attempt is worth more than more patience."""


@dataclass
class Exchange:
    """One request and its answer: how long it may take and how far it has come."""

    deadline: Deadline
    stage: str = "connect"
    request_sent: bool = False

    def remaining(self) -> float:
        """Return the seconds that are left; raise `TimeoutError` when there are none."""
        left = self.deadline.remaining()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


# Greenlets and threads each have a context of their own, whatever was patched when.
current: ContextVar[Exchange] = ContextVar("flow_client_exchange")


class _BoundedReader(io.RawIOBase):
    """Reads from a socket, each time for no longer than the exchange has left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(current.get().remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """The part of a socket that `HTTPResponse` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock))


def _bounded_response(sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
    return HTTPResponse(_BoundedSocket(sock), *args, **kwargs)  # type: ignore[arg-type]


class _BoundedConnection(HTTPConnection):
    """Keeps to the exchange's deadline and notes its stage."""

    response_class = staticmethod(_bounded_response)  # type: ignore[assignment]
    _connecting = False

    def connect(self) -> None:
        exchange = current.get()
        exchange.stage = "connect"
        self.timeout = min(CONNECT_TIMEOUT, exchange.remaining())
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False
        self.sock.settimeout(exchange.remaining())

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        # What a proxy is told while the tunnel is made is not yet the request.
        if not self._connecting:
            exchange = current.get()
            exchange.stage = "request"
            exchange.request_sent = True
        super().send(data)

    def getresponse(self) -> Any:
        exchange = current.get()
        exchange.stage = "answer"
        self.timeout = exchange.remaining()
        return super().getresponse()


class _BoundedTLSConnection(_BoundedConnection, HTTPSConnection):
    """The same over TLS."""


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection


POOL_CLASSES = {"http": _BoundedPool, "https": _BoundedTLSPool}
