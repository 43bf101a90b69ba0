"""A delivery session: one fresh connection on which messages are published, until the first doubt about any of them.

nats-py repeats what it holds after a reconnect, behind what was sent since: so a session never reconnects.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nats import errors as nats_errors

from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.connection import (
    ATTEMPT_TIMEOUT,
    FOREIGN,
    MAX_OUTSTANDING_PINGS,
    PING_INTERVAL,
    bounded,
    close_client,
    read_error,
)
from flow_client._nats.driver import TlsMissingError, new_client
from flow_client._nats.jetstream import HEADER_ALLOWANCE
from flow_client._nats.outbox.publication import DoubtError, read_answer
from flow_client._nats.outbox.queries import LOOK, ask
from flow_client._nats.store import read_last, read_next, stream_of
from flow_client.errors import BridgeError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from flow_client._nats.outbox.publication import Exchange
    from flow_client._nats.servers import Servers
    from flow_client._nats.store import Stored

CLOSE_TIMEOUT = 1.0
# Below this many bytes a second a message counts as lost, not as slow.
SLOWEST_RATE = 256 * 1024
_AT_ONCE = 0.01
_UNLIMITED = -1


class ClientRefusedError(BridgeError):
    """The server does not let the client in."""


@dataclass(frozen=True)
class Stream:
    """What is known of a stream."""

    name: str
    takes_batches: bool
    max_message: int


class Session:
    """One connection for publishing; `open` makes it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._inbox = client.new_inbox()
        self._exchanges: dict[str, Exchange] = {}
        self._names = itertools.count(1)
        self._streams: dict[str, Stream] = {}
        self._vigil = _Vigil(client)

    @classmethod
    async def open(cls, servers: Servers, timeout: float) -> Session:
        """Connect to one of the servers.

        Raises:
            ClientRefusedError: a server refuses the client, or none of them offers the TLS that is required.
            DoubtError: none of them answered in time.
        """
        reasons: list[str] = []
        without_tls = 0
        for url in random.sample(servers.urls, len(servers.urls)):
            callbacks = _Callbacks()
            try:
                return await cls._connect(url, servers, timeout / len(servers.urls), callbacks)
            except FOREIGN as exc:
                if "authorization violation" in str(exc).lower():
                    raise ClientRefusedError(f"NATS at {servers} refuses the client: {exc}") from exc
                without_tls += isinstance(exc, TlsMissingError)
                reasons.append(str(callbacks.last or exc) or type(exc).__name__)
        if without_tls == len(servers.urls):
            raise ClientRefusedError(f"cannot connect to NATS: {', '.join(reasons)}")
        raise DoubtError(", ".join(reasons))

    @classmethod
    async def _connect(cls, url: str, servers: Servers, timeout: float, callbacks: _Callbacks) -> Session:
        client = new_client(servers)
        connecting = client.connect(
            servers=[url],
            **servers.login(),
            name="flow-client outbox",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # nats-py tries for ever to connect for the first time, reconnecting or not
            reconnect_time_wait=_AT_ONCE,  # type: ignore[arg-type] # a float is as good
            connect_timeout=timeout,  # type: ignore[arg-type]
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=MAX_OUTSTANDING_PINGS,
            error_cb=callbacks.on_error,
            closed_cb=callbacks.on_end,
            skip_subject_validation=True,  # ours are made of checked ids
        )
        try:
            await bounded(connecting, timeout)
            if client._reading_task is not None:  # noqa: SLF001
                # It ends with an error that nats-py leaves unread when a connection is lost while it is being closed.
                client._reading_task.add_done_callback(read_error)  # noqa: SLF001
            callbacks.session = cls(client)
            await callbacks.session.listen()
        except BaseException:
            await _drop(client)
            raise
        return callbacks.session

    async def listen(self) -> None:
        """Subscribe to the answers."""
        await self.client.subscribe(f"{self._inbox}.>", future=_Replies(self._on_reply))

    @property
    def max_payload(self) -> int:
        """The largest payload that the server takes, headers allowed for."""
        return self.client.max_payload - HEADER_ALLOWANCE

    async def stream(self, kind: str, subject: str) -> Stream:
        """Return the stream that takes the subjects of one kind, of which `subject` is one.

        Raises:
            BridgeError: there is none.
            DoubtError: there may be one.
        """
        if kind not in self._streams:
            name = await ask(self.client, lambda js: stream_of(js, subject))
            config = (await ask(self.client, lambda js: js.stream_info(name))).config
            limit = self.max_payload
            if config.max_msg_size not in (None, _UNLIMITED):
                limit = min(limit, config.max_msg_size - HEADER_ALLOWANCE)
            self._streams[kind] = Stream(name, bool(config.allow_batched), limit)
        return self._streams[kind]

    async def last_stored(self, stream: Stream, subject: str) -> Stored | None:
        """Return the subject's last message, from the stream's leader, None if there is none; raise `DoubtError`."""
        return await ask(self.client, lambda js: read_last(js, stream.name, subject))

    async def ids_after(self, stream: Stream, subject: str, position: int) -> list[str]:
        """Return the ids of the subject's messages behind a position; raise `DoubtError` without an answer."""
        found: list[str] = []
        following = partial(read_next, stream=stream.name, subject=subject)
        while message := await ask(self.client, partial(following, position=position)):
            found.append(message.message_id or "")
            position = message.stream_sequence
        return found

    async def exchange(self, exchange: Exchange) -> None:
        """Publish what the exchange is about and wait until the server has answered all of it.

        Raises:
            DoubtError: it has not.
        """
        if not self.client.is_connected:
            raise DoubtError("NATS: the connection was lost")
        token = str(next(self._names))
        self._exchanges[token] = exchange
        size = sum(len(parcel.payload) for parcel in exchange.parcels)
        self._vigil.begin(exchange, ATTEMPT_TIMEOUT + size / SLOWEST_RATE)
        try:
            await exchange.publish(self.client, f"{self._inbox}.{token}")
            await exchange.over
        except FOREIGN as exc:
            raise DoubtError(str(exc) or type(exc).__name__) from exc
        finally:
            self._vigil.end()
            del self._exchanges[token]

    def _on_reply(self, message: Msg) -> None:
        token, *rest = message.subject[len(self._inbox) + 1 :].split(".")
        exchange = self._exchanges.get(token)
        if exchange is None:
            return
        try:
            exchange.on_reply(rest, read_answer(message))
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with it: what is raised here would end the reading
            exchange.doubt(f"an answer is malformed ({exc!r}): {message.data[:200]!r}")

    def on_error(self, error: Exception) -> None:
        """Take note of what the server says about the connection, or of its end."""
        for exchange in self._exchanges.values():
            exchange.on_error(error)

    async def close(self) -> None:
        """Drop the connection, and with it what is not on the wire yet: the next session sends it."""
        await _drop(self.client)


class _Replies(asyncio.Future[Any]):
    """Takes all messages of a subscription, at once as they are read: to nats-py it is the future of a single one.

    With a callback in its place nats-py queues them for a task: that takes longer, and what is too much is dropped.
    """

    def __init__(self, on_reply: Callable[[Msg], None]) -> None:
        super().__init__()
        self._on_reply = on_reply

    def set_result(self, result: Msg) -> None:
        self._on_reply(result)


class _Vigil:
    """Ends an exchange that loses its connection, or has no answer within each `patience` seconds.

    It looks while exchanges go on, and rests from a look that finds none until the next one begins.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._exchange: Exchange | None = None
        self._patience = 0.0
        self._answers = 0
        self._quiet = Deadline(0)
        self._looking = False

    def begin(self, exchange: Exchange, patience: float) -> None:
        self._exchange, self._patience = exchange, patience
        self._answers, self._quiet = exchange.answers, Deadline(patience)
        if not self._looking:
            self._look_later()

    def end(self) -> None:
        self._exchange = None

    def _look_later(self) -> None:
        self._looking = True
        asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        if self._exchange is None:
            return
        if self._exchange.answers != self._answers:
            self._answers, self._quiet = self._exchange.answers, Deadline(self._patience)
        if self._client.is_closed:
            self._exchange.doubt("the connection was lost")
        elif self._quiet.remaining() <= 0:
            self._exchange.doubt(f"it did not confirm within {self._patience:.1f} s")
        else:
            self._look_later()


class _Callbacks:
    """What nats-py calls when a connection fails; `last` is the last reason."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.last: Exception | None = None

    async def on_error(self, error: Exception) -> None:
        logger.debug("NATS: %s", error or type(error).__name__)
        self.last = error
        if self.session is not None:
            self.session.on_error(error)

    async def on_end(self) -> None:
        if self.session is not None:
            self.session.on_error(nats_errors.ConnectionClosedError())


def too_large(size: int, limit: int) -> PayloadTooLargeError:
    """Return the error for a payload of `size` bytes where `limit` are taken."""
    return PayloadTooLargeError(f"the message has {size} bytes, the NATS server takes {limit}")


async def _drop(client: Client) -> None:
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()
    await close_client(client, CLOSE_TIMEOUT)
