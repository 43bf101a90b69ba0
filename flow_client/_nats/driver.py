"""The sockets of a connection to NATS: over TLS where TLS is asked for, or not at all.

nats-py itself speaks TLS only if the server asks for it, whatever the URL says. This is the one place that replaces a
part of it: `new_client` sets the private `Client._transport`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from ssl import SSLContext
    from urllib.parse import ParseResult

    from flow_client._nats.servers import Servers

_INFO = b"INFO "


class TlsMissingError(nats_errors.Error):
    """The server does not speak TLS.

    Attributes:
        server: its host and port.
    """

    def __init__(self, server: str) -> None:
        super().__init__(
            f"{server} does not offer TLS, and a tls:// URL, NATS_CA or NATS_CERT requires it; nothing was sent to it"
        )
        self.server = server


def new_client(servers: Servers) -> Client:
    """Return a client of nats that is not connected yet, and that sends nothing in clear text if TLS is required."""
    client = Client()
    client._transport = _Transport(requires_tls=servers.require_tls)  # noqa: SLF001 - nats-py has no argument for it
    return client


class _Transport(TcpTransport):
    """A TCP connection. If TLS is required it reads one line in clear text, the server's INFO, and writes nothing.

    A client uses the same transport for each server that it connects to, one after the other.
    """

    def __init__(self, *, requires_tls: bool) -> None:
        super().__init__()
        self._requires_tls = requires_tls
        self._server = ""
        self._is_secure = False

    def __bool__(self) -> bool:
        # nats-py replaces a transport that is false.
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        self.close()  # nats-py leaves a connection open on which the greeting failed
        self._is_secure, self._server = False, uri.netloc
        await super().connect(uri, buffer_size, connect_timeout)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            self._abort()
            raise
        # Without it the reader never pauses the connection, and asyncio complains at the end of each one.
        transport = self._socket()
        if (protocol := transport.get_protocol()) is not None:  # None once the server has ended it
            protocol.connection_made(transport)
        self._is_secure = True

    def _socket(self) -> Any:
        writer: Any = self._io_writer
        return writer.transport

    def _abort(self) -> None:
        """End a connection whose handshake failed: nobody would tell its stream, and to wait for that would hang."""
        self._socket().abort()
        self._io_reader = self._io_writer = None

    async def readline(self) -> bytes:
        line: bytes = await super().readline()
        return self._with_tls(line) if self._must_not_send() else line

    def _with_tls(self, line: bytes) -> bytes:
        """Return the server's INFO so that it asks for TLS, even if the server only offers it.

        It names no other servers of the cluster: nobody has vouched for it yet, and they would get the credentials.
        The server names them again over TLS.
        """
        info = _parse(line)
        if not (info.get("tls_required") or info.get("tls_available")):
            raise TlsMissingError(self._server)
        info.pop("connect_urls", None)
        return _INFO + to_json({**info, "tls_required": True}) + b"\r\n"

    def write(self, payload: bytes) -> None:
        self._check()
        super().write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._check()
        super().writelines(payload)

    def _check(self) -> None:
        if self._must_not_send():
            raise TlsMissingError(self._server)

    def _must_not_send(self) -> bool:
        return self._requires_tls and not self._is_secure


def _parse(line: bytes) -> dict[str, Any]:
    """Return what the server says of itself."""
    try:
        info = from_json(line.removeprefix(_INFO))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise nats_errors.Error(f"the server's first line is not the INFO of a NATS server: {line[:100]!r}")
    return info
