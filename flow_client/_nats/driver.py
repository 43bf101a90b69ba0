"""Everything that reaches into nats-py: its transport, parser, pending bytes, subscriptions and reading task.

No other module uses a private name of nats-py. `tests/nats/test_driver.py` names each of them: with a new version of
nats-py, look there first.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, TypeVar

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser
from pydantic_core import from_json, to_json

from flow_client._core.log import logger
from flow_client._nats.errors import NATS_ERRORS, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext
    from urllib.parse import ParseResult

    from nats.aio.msg import Msg

    from flow_client._nats.servers import Servers

    Acks = list[tuple[int, int]]

ResultT = TypeVar("ResultT")

CLOSE_TIMEOUT = 1.0
"""Seconds for closing a connection in good order; then it is cut."""
_INFO = b"INFO "
_LINES_OF_A_MESSAGE = 2


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
    """Return a client that is not connected yet. If TLS is required, it sends nothing in clear text."""
    client = Client()
    client._transport = _Transport(requires_tls=servers.require_tls)  # nats-py has no argument for it
    return client


def write(client: Client, commands: bytes) -> None:
    """Hand commands to the socket at once, behind what nats-py holds back.

    nats-py would have another task do it. It does not wait until they are sent: limit what is unanswered.

    Raises:
        nats_errors.ConnectionClosedError: there is no connection.
    """
    if not client.is_connected:
        raise nats_errors.ConnectionClosedError
    transport: Any = client._transport
    transport.writelines([*client._pending, commands])
    client._pending.clear()
    client._pending_data_size = 0


async def close_client(client: Client, *, drop_unsent: bool = False) -> None:
    """Close the client within `CLOSE_TIMEOUT` seconds, whatever the server does, and leave no task or socket behind.

    Messages that nats-py holds back are never sent: on its way out it would send them to whichever server it is about
    to connect to.

    Args:
        client: the client.
        drop_unsent: whether to drop what is in the socket's buffer too.
    """
    client._pending.clear()
    client._pending_data_size = 0
    if drop_unsent:
        _cut(client)
    try:
        # Not drain(): it raises while reconnecting, and leaves the client open if the server hangs.
        await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
    except NATS_ERRORS as error:
        logger.warning("the connection to NATS was not closed in good order: %s", text_of(error))
    finally:
        _end_what_is_left(client)


def _end_what_is_left(client: Client) -> None:
    """End what nats-py leaves running if the server hangs, or if the connection is lost while it is being closed."""
    for subscription in list(client._subs.values()):
        subscription._stop_processing()
    if client._reading_task is not None:
        client._reading_task.add_done_callback(read_error)
    _cut(client)


def _cut(client: Client) -> None:
    transport: Any = client._transport
    transport.cut()


async def bounded(operation: Awaitable[ResultT], timeout: float) -> ResultT:
    """Do what `asyncio.wait_for` does, for nats-py: it may ignore being cancelled, and fail afterwards."""
    task = asyncio.ensure_future(operation)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if task.cancelled():
            raise nats_errors.ConnectionClosedError  # nats-py cancels what is under way when it closes
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        task.add_done_callback(read_error)
        task.cancel()


def read_error(task: asyncio.Future[Any]) -> None:
    """Take the task's error, which asyncio would print if nobody did."""
    if not task.cancelled():
        task.exception()


class EveryReply(asyncio.Future[Any]):
    """Passes each message of a subscription to `on_reply` as it is read; nats-py takes it for a single reply's future.

    Given a callback instead, nats-py would queue the messages for a task: that is slower, and when too many come in
    it drops some.
    """

    def __init__(self, on_reply: Callable[[Msg], None]) -> None:
        super().__init__()
        self._on_reply = on_reply

    def set_result(self, result: Msg) -> None:
        """Take one message; nats-py calls this for each."""
        self._on_reply(result)


def read_acks(client: Client, prefix: str, on_acks: Callable[[Acks], None]) -> None:
    """Pass the acknowledgements that come to `<prefix>.<number>` to `on_acks`, all those of one read together.

    These are JetStream's plain acknowledgements, which name a stream and a sequence. nats-py takes ten times as long
    for each. Any other answer still goes to the subscription.

    Args:
        client: a client that is not connected yet.
        prefix: the client will subscribe to what is below.
        on_acks: gets the number and the sequence of each acknowledgement. It must not raise: that ends the reading.
    """
    client._ps = _AckParser(client, prefix.encode(), on_acks)


class _AckParser(Parser):
    """nats-py's parser, which is not asked about acknowledgements."""

    def __init__(self, client: Client, prefix: bytes, on_acks: Callable[[Acks], None]) -> None:
        super().__init__(client)
        self._begin = b"MSG %b." % prefix
        ack = rb'%b(\d+) \d+ (\d+)\r\n(\{"stream":"[^"\\\r\n]*", ?(?:"domain":"[^"\\\r\n]*", ?)?"seq":(\d+)\})\r\n'
        self._ack = re.compile(ack % re.escape(self._begin))
        self._acks = re.compile(b"(?:%b)+" % self._ack.pattern.replace(b"(\\d+)", rb"\d+"))
        self._on_acks = on_acks

    async def parse(self, data: bytes = b"") -> None:
        if self.state == AWAITING_CONTROL_LINE:
            data = self._without_acks(bytes(self.buf) + data)
            self.buf.clear()
            if self._is_part_of_ack(data):
                self.buf.extend(data)
                return
        await super().parse(data)

    def _without_acks(self, data: bytes) -> bytes:
        found = self._acks.match(data)
        if found is None:
            return data
        acks = self._ack.findall(data, 0, found.end())
        if any(len(payload) != int(size) for _, size, payload, _ in acks):
            return data
        self._on_acks([(int(number), int(position)) for number, _, _, position in acks])
        return data[found.end() :]

    def _is_part_of_ack(self, data: bytes) -> bool:
        """Return whether more has to come before it is known what this is. nats-py would finish it in its own way."""
        return data[: len(self._begin)] == self._begin[: len(data)] and data.count(b"\r\n") < _LINES_OF_A_MESSAGE


class _Transport(TcpTransport):
    """A TCP connection. If TLS is required, it reads one line in clear text, the server's INFO, and writes nothing.

    nats-py itself speaks TLS only if the server asks for it, whatever the URL says. A client uses the same transport
    for each server that it connects to, one after the other.
    """

    def __init__(self, *, requires_tls: bool) -> None:
        super().__init__()
        self._requires_tls = requires_tls
        self._server = ""
        self._is_secure = False
        self._is_cut = False

    def cut(self) -> None:
        """End the connection, and the one that is being made, for good."""
        self._is_cut = True
        if self._io_writer is not None:
            self._socket().abort()

    def __bool__(self) -> bool:
        # nats-py replaces a transport that is falsy.
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        self.close()  # nats-py leaves a connection open if its greeting failed
        self._is_secure, self._server = False, uri.netloc
        await super().connect(uri, buffer_size, connect_timeout)
        if self._is_cut:
            # Connecting was cancelled just as it succeeded: `wait_for` of Python 3.11 then forgets the cancelling.
            self._abort()
            raise asyncio.CancelledError

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except BaseException:
            self._abort()
            raise
        # Without this the reader never pauses the connection, and asyncio logs an error when it ends.
        transport = self._socket()
        if (protocol := transport.get_protocol()) is not None:  # None once the server has ended it
            protocol.connection_made(transport)
        self._is_secure = True

    def _socket(self) -> Any:
        writer: Any = self._io_writer
        return writer.transport

    def _abort(self) -> None:
        """End a connection whose handshake failed: its stream is not notified, and waiting for it would hang."""
        self._socket().abort()
        self._io_reader = self._io_writer = None

    async def readline(self) -> bytes:
        line: bytes = await super().readline()
        return self._with_tls(line) if self._must_not_send() else line

    def _with_tls(self, line: bytes) -> bytes:
        """Return the server's INFO with TLS required, even if the server only offers it.

        The other servers of the cluster are removed: this INFO could be forged, and they would get the credentials. The
        server names them again over TLS.
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
    """Return the content of the server's INFO."""
    try:
        info = from_json(line.removeprefix(_INFO))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise nats_errors.Error(f"the server's first line is not the INFO of a NATS server: {line[:100]!r}")
    return info
