"""A delivery session: one fresh connection for publishing, used until it is not known whether a message is stored.

A session never reconnects: nats-py would send what it holds back again, behind messages that were sent since.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nats import errors as nats_errors

from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.connection import ATTEMPT_TIMEOUT, MAX_OUTSTANDING_PINGS, PING_INTERVAL
from flow_client._nats.driver import EveryReply, TlsMissingError, bounded, close_client, new_client
from flow_client._nats.errors import NATS_ERRORS, is_refused_login, text_of
from flow_client._nats.jetstream import HEADER_ALLOWANCE
from flow_client._nats.outbox.publication import UnconfirmedError, read_answer
from flow_client._nats.outbox.queries import CHECK_INTERVAL, ask_until_answered
from flow_client._nats.store import read_last, read_next, stream_of
from flow_client.errors import BridgeError, PayloadTooLargeError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from flow_client._nats.outbox.publication import Publication
    from flow_client._nats.servers import Servers
    from flow_client._nats.store import Stored

SLOWEST_RATE = 256 * 1024
"""Bytes per second below which a message counts as lost, not as slow."""
_AT_ONCE = 0.01
_UNLIMITED = -1


class ClientRefusedError(BridgeError):
    """The server did not accept the client."""


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
        self._reply_prefix = client.new_inbox()
        self._current: Publication | None = None
        self._numbers = itertools.count(1)
        self._number = ""
        self._streams: dict[str, Stream] = {}
        self._watchdog = _Watchdog(client)

    @classmethod
    async def open(cls, servers: Servers, timeout: float) -> Session:
        """Connect to one of the servers.

        Raises:
            ClientRefusedError: a server refused the client, or none of them offers the TLS that is required.
            UnconfirmedError: none of them answered in time.
        """
        reasons: list[str] = []
        without_tls = 0
        for url in random.sample(servers.urls, len(servers.urls)):
            callbacks = _Callbacks()
            try:
                return await cls._connect(url, servers, timeout / len(servers.urls), callbacks)
            except NATS_ERRORS as error:
                if is_refused_login(error):
                    raise ClientRefusedError(f"NATS at {servers} refused the client: {error}") from error
                without_tls += isinstance(error, TlsMissingError)
                reasons.append(text_of(callbacks.last or error))
        if without_tls == len(servers.urls):
            raise ClientRefusedError(f"cannot connect to NATS: {', '.join(reasons)}")
        raise UnconfirmedError(", ".join(reasons))

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
            callbacks.session = cls(client)
            await callbacks.session.listen()
        except BaseException:
            await close_client(client, drop_unsent=True)
            raise
        return callbacks.session

    async def listen(self) -> None:
        """Subscribe to the answers."""
        await self.client.subscribe(f"{self._reply_prefix}.>", future=EveryReply(self._on_reply))

    @property
    def max_payload(self) -> int:
        """The largest payload that the server accepts, with room for the headers."""
        return self.client.max_payload - HEADER_ALLOWANCE

    async def stream(self, kind: str, subject: str) -> Stream:
        """Return the stream that takes the subjects of one kind, of which `subject` is one.

        Raises:
            BridgeError: there is no such stream.
            UnconfirmedError: NATS did not say.
        """
        if kind not in self._streams:
            name = await ask_until_answered(self.client, lambda js: stream_of(js, subject))
            config = (await ask_until_answered(self.client, lambda js: js.stream_info(name))).config
            limit = self.max_payload
            if config.max_msg_size not in (None, _UNLIMITED):
                limit = min(limit, config.max_msg_size - HEADER_ALLOWANCE)
            self._streams[kind] = Stream(name, bool(config.allow_batched), limit)
        return self._streams[kind]

    async def last_stored(self, stream: Stream, subject: str) -> Stored | None:
        """Return the subject's last message, None if it has none; raise `UnconfirmedError` if NATS did not say."""
        return await ask_until_answered(self.client, lambda js: read_last(js, stream.name, subject))

    async def ids_after(self, stream: Stream, subject: str, position: int) -> list[str]:
        """Return the ids of the subject's messages behind `position`; raise `UnconfirmedError` if NATS did not say."""
        found: list[str] = []
        following = partial(read_next, stream=stream.name, subject=subject)
        while message := await ask_until_answered(self.client, partial(following, position=position)):
            found.append(message.message_id or "")
            position = message.stream_sequence
        return found

    async def publish(self, publication: Publication) -> None:
        """Send the messages and wait until the server has answered for all of them. One publication runs at a time.

        Raises:
            UnconfirmedError: it has not answered for all.
        """
        if not self.client.is_connected:
            raise UnconfirmedError("NATS: the connection was lost")
        self._current, self._number = publication, str(next(self._numbers))
        size = sum(len(message.payload) for message in publication.messages)
        self._watchdog.watch(publication, ATTEMPT_TIMEOUT + size / SLOWEST_RATE)
        try:
            await publication.send(self.client, f"{self._reply_prefix}.{self._number}")
            await publication.over
        except NATS_ERRORS as error:
            raise UnconfirmedError(text_of(error)) from error
        finally:
            self._watchdog.rest()
            self._current = None

    def _on_reply(self, reply: Msg) -> None:
        number, *tokens = reply.subject[len(self._reply_prefix) + 1 :].split(".")
        if self._current is None or number != self._number:
            return
        try:
            self._current.on_reply(tokens, read_answer(reply))
        except Exception as error:  # noqa: BLE001 - an exception here would end nats-py's reading
            self._current.abandon(f"an answer is malformed ({error!r}): {reply.data[:200]!r}")

    def on_error(self, error: Exception) -> None:
        """Take what the server says about the connection, or its end."""
        if self._current is not None:
            self._current.on_error(error)

    async def close(self) -> None:
        """Drop the connection, and with it what is not on the wire yet: the next session sends it."""
        await close_client(self.client, drop_unsent=True)


class _Watchdog:
    """Abandons a publication that loses its connection, or gets no answer for `patience` seconds.

    It checks while publications go on. A check that finds none is the last, until the next publication begins.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._publication: Publication | None = None
        self._patience = 0.0
        self._answers = 0
        self._quiet = Deadline(0)
        self._checking = False

    def watch(self, publication: Publication, patience: float) -> None:
        self._publication, self._patience = publication, patience
        self._answers, self._quiet = publication.answers, Deadline(patience)
        if not self._checking:
            self._check_later()

    def rest(self) -> None:
        self._publication = None

    def _check_later(self) -> None:
        self._checking = True
        asyncio.get_running_loop().call_later(CHECK_INTERVAL, self._check)

    def _check(self) -> None:
        self._checking = False
        if self._publication is None:
            return
        if self._publication.answers != self._answers:
            self._answers, self._quiet = self._publication.answers, Deadline(self._patience)
        if self._client.is_closed:
            self._publication.abandon("the connection was lost")
        elif self._quiet.remaining() <= 0:
            self._publication.abandon(f"it did not confirm within {self._patience:.1f} s")
        else:
            self._check_later()


class _Callbacks:
    """The callbacks of a connection that fails; `last` is the last error."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.last: Exception | None = None

    async def on_error(self, error: Exception) -> None:
        logger.debug("NATS: %s", text_of(error))
        self.last = error
        if self.session is not None:
            self.session.on_error(error)

    async def on_end(self) -> None:
        if self.session is not None:
            self.session.on_error(nats_errors.ConnectionClosedError())


def too_large(size: int, limit: int) -> PayloadTooLargeError:
    """Return the error for a payload of `size` bytes."""
    return PayloadTooLargeError(f"the message has {size} bytes; the NATS server accepts at most {limit}")
