"""Answers that are read within one deadline, from the first byte of the head to the last byte of the body.

A socket's own time-out bounds one read, so a peer that drips keeps a caller for as long as it likes. Here every read
sets the time-out to what is left of the exchange's deadline.

This is the only file that reaches into http.client: `tests/http/test_urllib3_parts.py` names each part.
"""

from __future__ import annotations

import io
import re
from http.client import HTTPMessage, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, Any

from flow_client._core.interruptible import LONGEST_SLEEP
from flow_client._http.exchange import HttpExchange, current

if TYPE_CHECKING:
    import socket

_USUAL_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5]\d\d) ?([\t -~]*)"  # the status and its reason
    rb"((?:\r\n[!#-'*+.0-9A-Z^_`a-z|~-]+:[\t -~]*){1,99})\r\n\r\n"  # the fields
)
"""A status that ends the exchange, and header fields without line breaks within them or characters beyond ASCII."""
_LENGTH = re.compile(r"\d{1,18}")
_WITHOUT_BODY = (204, 304)


class BoundedResponse(HTTPResponse):
    """An answer of http.client's, which reads no longer than the exchange has left."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_BoundedSocket(sock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head.

        http.client has it read by the parser for e-mail, which takes an eighth of a call. Here a usual head is split
        into lines; any other one is left to http.client.
        """
        if self.headers is None and not self._begin_usual():
            super().begin()

    def _begin_usual(self) -> bool:
        """Read the head if it is usual, and return whether it was; else nothing has been read."""
        head = _USUAL_HEAD.match(self.fp.peek())
        if head is None:
            return False
        status, lines, fields = int(head[1]), head[3].decode().split("\r\n"), HTTPMessage()
        for name, _, value in (line.partition(":") for line in lines[1:]):
            fields[name] = value.lstrip(" \t")
        length = fields.get_all("Content-Length", [])
        if not _LENGTH.fullmatch(",".join(length)) or "Transfer-Encoding" in fields or status in _WITHOUT_BODY:
            return False
        self.fp.read(head.end())
        self.version, self.code, self.status, self.reason = 11, status, status, head[2].decode().strip()
        self.headers = self.msg = fields
        self.chunked, self.length = False, int(length[0])
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        return True

    def _close_conn(self) -> None:
        """Close the answer as well when it is read to its end.

        Else its destructor runs the code that closes it, and Python drops what a signal handler raises in a destructor.
        """
        super()._close_conn()  # type: ignore[misc]
        io.BufferedIOBase.close(self)


class _BoundedSocket:
    """The part of a socket that `HTTPResponse` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock))


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

    def _receive(self, buffer: Any, exchange: HttpExchange) -> int:
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
