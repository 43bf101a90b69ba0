"""Connections that keep to one deadline, from the first connect to the last byte of the body.

A socket's own time-out bounds one read, so a peer that drips keeps a caller for as long as it likes. Here every read
sets the time-out to what is left of the exchange's deadline.
"""

from __future__ import annotations

import io
import queue
import socket
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse, RemoteDisconnected
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from flow_client._core.deadline import Deadline
from flow_client._core.interruptible import LONGEST_SLEEP
from flow_client._core.tracebacks import interruption

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt to connect, proxy and TLS included: past it another attempt is worth more than patience."""


@dataclass
class Exchange:
    """One call's requests and their answers: how long they may take and how far they have come.

    `request_sent` stays True once any attempt has sent the request. `connecting` is the limit of an attempt to connect.
    `handled_before` is the exception that the caller was already handling.
    """

    deadline: Deadline
    stage: str = "connect"
    request_sent: bool = False
    connecting: Deadline | None = None
    handled_before: BaseException | None = None

    def interruption(self, error: BaseException) -> BaseException | None:
        """Return what a signal handler raised, if that is what `error` came of."""
        return interruption(error, self.handled_before)

    def remaining(self) -> float:
        """Return the seconds that are left; raise `TimeoutError` when there are none."""
        left = (self.connecting or self.deadline).remaining()
        if left <= 0:
            raise TimeoutError("the time is up")
        return min(left, LONGEST_SOCKET_WAIT)


LONGEST_SOCKET_WAIT = 2_000_000.0
"""Seconds: poll() counts milliseconds in 32 bits, and one that overflows ends at once. It is 23 days."""

# Greenlets and threads each have a context of their own, whatever was patched when.
current: ContextVar[Exchange] = ContextVar("flow_client_exchange")


class _BoundedReader(io.RawIOBase):
    """Reads from a socket, each time for no longer than the exchange has left."""

    _raw: Any = None

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        exchange = current.get()
        count = self._receive(buffer, exchange)
        if count == 0 and exchange.stage == "answer":
            # http.client takes the end of the stream for the end of the headers: a cut answer would pass for a whole.
            raise RemoteDisconnected("the connection was closed within the head of the answer")
        return count

    def _receive(self, buffer: Any, exchange: Exchange) -> int:
        while True:
            self._sock.settimeout(min(exchange.remaining(), LONGEST_SLEEP))
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError as error:
                if exchange.interruption(error):
                    raise

    def readall(self) -> bytes:
        # http.client asks for all there is when a chunk's size is -1: no limit would hold.
        raise ValueError("an answer is read in pieces")

    def close(self) -> None:
        # There is none if an interrupt came while the reader was made.
        if self._raw is not None:
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
    debuglevel = 0
    """Whatever http.client's own is set to: at 1 it prints every request, token and all."""

    def connect(self) -> None:
        exchange = current.get()
        exchange.stage = "connect"
        exchange.connecting = Deadline(min(CONNECT_TIMEOUT, exchange.remaining()))
        try:
            super().connect()
        finally:
            exchange.connecting = None

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, each for its share of the time: urllib3 would give each all of it."""
        exchange, host, addresses = current.get(), self._dns_host, self._addresses()
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            self._dns_host, self.timeout = address, exchange.remaining() / left
            try:
                sock = super()._new_conn()
                break
            except (ConnectTimeoutError, NewConnectionError) as error:
                if left == 1 or exchange.interruption(error):
                    raise
            finally:
                self._dns_host = host
        sock.settimeout(exchange.remaining())
        return sock

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        return [str(address[0]) for *_, address in found]

    def _tunnel(self) -> None:
        super()._tunnel()
        self.sock.settimeout(current.get().remaining())

    def send(self, data: Any) -> None:
        exchange = current.get()
        # What a proxy is told while the tunnel is made is not yet the request.
        if exchange.connecting is None:
            exchange.stage = "request"
            self.sock.settimeout(exchange.remaining())
            exchange.request_sent = True
        super().send(data)

    def getresponse(self) -> Any:
        exchange = current.get()
        exchange.stage = "answer"
        self.timeout = exchange.remaining()
        return super().getresponse()


class _BoundedTLSConnection(_BoundedConnection, HTTPSConnection):
    """The same over TLS."""


class _Stack:
    """What a pool keeps its connections in, without a lock: an interrupt or a fork cannot leave it held.

    A deque's own operations are atomic, and a pool that does not block never waits.
    """

    def __init__(self, maxsize: int) -> None:
        self._items: deque[Any] = deque()
        self._maxsize = maxsize

    def put(self, item: Any, block: bool = True) -> None:  # noqa: FBT001, FBT002, ARG002 - as queue.Queue has it
        if len(self._items) >= self._maxsize:
            raise queue.Full
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002, ARG002 - as above
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection
    QueueCls = _Stack  # type: ignore[assignment]

    def _validate_conn(self, conn: Any) -> None:
        """Connect before the request is written, as it is done for TLS."""
        if conn.is_closed:
            conn.connect()


class _BoundedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection
    QueueCls = _Stack  # type: ignore[assignment]


POOL_CLASSES = {"http": _BoundedPool, "https": _BoundedTLSPool}
