"""Connections that keep to one deadline, from the first connect to the answer, and note how far they have come.

This is the only file that reaches into urllib3: `tests/http/test_urllib3_parts.py` names each part.
"""

from __future__ import annotations

import queue
import socket
from collections import deque
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager

# Not from `urllib3.connection`: while a cassette of vcrpy is open, those that stand there are its own.
from urllib3.connectionpool import HTTPConnection, HTTPSConnection  # type: ignore[attr-defined]
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from flow_client._core.deadline import Deadline
from flow_client._http.exchange import current
from flow_client._http.response import BoundedResponse

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt to connect, proxy and TLS included: past it another attempt is worth more than patience."""


class _BoundedConnection(HTTPConnection):
    """Keeps to the exchange's deadline and notes its stage."""

    response_class = BoundedResponse
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
        try:
            sock.settimeout(exchange.remaining())
        except BaseException:
            sock.close()  # the time was up just then, and nobody else knows of the socket yet
            raise
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


class _Stack(queue.Queue[Any]):
    """What a pool keeps its connections in, without a lock: an interrupt or a fork cannot leave it held.

    A deque's own operations are atomic, and a pool that does not block never waits. It is a queue by name: vcrpy closes
    what it takes out of one.
    """

    def __init__(self, maxsize: int) -> None:  # the queue's own would make locks
        self.queue: deque[Any] = deque()
        self.maxsize = maxsize

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
        if len(self.queue) >= self.maxsize:
            raise queue.Full
        self.queue.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002, FBT001, FBT002
        try:
            return self.queue.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self.queue)


_BOUNDED = {HTTPConnection: _BoundedConnection, HTTPSConnection: _BoundedTLSConnection}


class _BoundedPool(HTTPConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]

    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802 - urllib3's name
        """What connections are made of: ours, unless a tool like vcrpy has replaced urllib3's own."""
        installed: Any = super().ConnectionCls
        return _BOUNDED.get(installed, installed)

    def _validate_conn(self, conn: Any) -> None:
        """Connect before the request is written, as urllib3 does for TLS alone."""
        current.get().observed = isinstance(conn, _BoundedConnection)
        super()._validate_conn(conn)
        if conn.is_closed:
            conn.connect()


class _BoundedTLSPool(_BoundedPool, HTTPSConnectionPool):  # type: ignore[override] # mypy sees an attribute in one
    """The same over TLS."""


_POOL_CLASSES = {"http": _BoundedPool, "https": _BoundedTLSPool}


def bound_connections(manager: PoolManager) -> None:
    """Have `manager` make pools whose connections keep to the deadline of the exchange."""
    manager.pool_classes_by_scheme = _POOL_CLASSES
