"""A delivery session: one fresh connection for publishing, used until it is not known whether a message is stored.

A session never reconnects: nats-py would send what it holds back again, behind messages that were sent since.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from nats import errors as nats_errors

from flow_client._core.log import logger
from flow_client._nats.connection import MAX_OUTSTANDING_PINGS, PING_INTERVAL
from flow_client._nats.driver import (
    EveryReply,
    TlsMissingError,
    bounded,
    close_client,
    new_client,
    read_acks,
    write,
)
from flow_client._nats.errors import NATS_ERRORS, is_refused_login, text_of
from flow_client._nats.jetstream import HEADER_ALLOWANCE
from flow_client._nats.outbox.batch import Batch
from flow_client._nats.outbox.publication import UnconfirmedError, read_answer
from flow_client._nats.outbox.queries import CHECK_INTERVAL, ask_until_answered
from flow_client._nats.outbox.window import Window
from flow_client._nats.store import read_last, read_next, stream_of
from flow_client.errors import BridgeError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client._nats.driver import Acks
    from flow_client._nats.outbox.publication import Outcome, Outgoing, Publication
    from flow_client._nats.servers import Servers
    from flow_client._nats.store import Stored

ResultT = TypeVar("ResultT")

_PAGE = 32
"""How many places of a stream are asked about at once."""
_QUESTIONS_AT_ONCE = 128
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
    """One connection for publishing; `open` makes it.

    Attributes:
        client: the connection.
        window: the messages that are on their way, unless they are published as a batch.
    """

    def __init__(self, client: Client, outcome: Outcome) -> None:
        self.client = client
        self._outcome = outcome
        self._reply_prefix = client.new_inbox()
        self._streams: dict[str, Stream] = {}
        self._write = partial(write, client)
        self.window = Window(outcome, self._write, self._reply_prefix)
        self._batches = 0
        self._batch: Batch | None = None
        self._is_watched = False
        self._last_error: Exception | None = None
        self._asking = asyncio.Semaphore(_QUESTIONS_AT_ONCE)
        read_acks(client, self._reply_prefix, self._on_acks)

    @classmethod
    async def open(cls, servers: Servers, timeout: float, outcome: Outcome) -> Session:
        """Connect to one of the servers; `outcome` is told what becomes of the messages.

        Raises:
            ClientRefusedError: a server refused the client, or none of them offers the TLS that is required.
            UnconfirmedError: none of them answered in time.
        """
        reasons: list[str] = []
        without_tls = 0
        for url in random.sample(servers.urls, len(servers.urls)):
            session = cls(new_client(servers), outcome)
            try:
                await session._connect(url, servers, timeout / len(servers.urls))
            except NATS_ERRORS as error:
                if is_refused_login(error):
                    raise ClientRefusedError(f"NATS at {servers} refused the client: {error}") from error
                without_tls += isinstance(error, TlsMissingError)
                reasons.append(text_of(session._last_error or error))
            else:
                return session
        if without_tls == len(servers.urls):
            raise ClientRefusedError(f"cannot connect to NATS: {', '.join(reasons)}")
        raise UnconfirmedError(", ".join(reasons))

    async def _connect(self, url: str, servers: Servers, timeout: float) -> None:
        connecting = self.client.connect(
            servers=[url],
            **servers.login(),
            name="flow-client outbox",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # nats-py tries for ever to connect for the first time, reconnecting or not
            reconnect_time_wait=_AT_ONCE,  # type: ignore[arg-type] # a float is as good
            connect_timeout=timeout,  # type: ignore[arg-type]
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=MAX_OUTSTANDING_PINGS,
            error_cb=self._on_error,
            closed_cb=self._on_end,
            skip_subject_validation=True,  # ours are made of checked ids
        )
        try:
            await bounded(connecting, timeout)
            await self.client.subscribe(f"{self._reply_prefix}.>", future=EveryReply(self._on_reply))
        except BaseException:
            await self.close()
            raise

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
            name = await self._ask(lambda js: stream_of(js, subject))
            config = (await self._ask(lambda js: js.stream_info(name))).config
            limit = self.max_payload
            if config.max_msg_size not in (None, _UNLIMITED):
                limit = min(limit, config.max_msg_size - HEADER_ALLOWANCE)
            self._streams[kind] = Stream(name, bool(config.allow_batched), limit)
        return self._streams[kind]

    async def last_stored(self, stream: Stream, subject: str) -> Stored | None:
        """Return the subject's last message, None if it has none; raise `UnconfirmedError` if NATS did not say."""
        return await self._ask(lambda js: read_last(js, stream.name, subject))

    async def ids_after(self, stream: Stream, subject: str, position: int) -> list[str]:
        """Return the ids of the subject's messages behind `position`; raise `UnconfirmedError` if NATS did not say."""
        found: dict[int, str] = {}
        while True:
            # One question for each place: whatever there is at these places, one of the answers is it.
            places = range(position, position + _PAGE)
            answers = await asyncio.gather(*(self._next_stored(stream, subject, place) for place in places))
            found.update((message.stream_sequence, message.message_id or "") for message in answers if message)
            if answers[-1] is None:
                return [message_id for _, message_id in sorted(found.items())]
            position = answers[-1].stream_sequence

    async def _next_stored(self, stream: Stream, subject: str, position: int) -> Stored | None:
        return await self._ask(partial(read_next, stream=stream.name, subject=subject, position=position))

    async def _ask(self, query: Callable[[JetStreamContext], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """Return the answer to a question. So many are asked at once that they do not hold up each other's answers."""
        async with self._asking:
            return await ask_until_answered(self.client, query)

    async def publish_batch(self, outgoing: list[Outgoing]) -> None:
        """Publish two or more messages as one batch, while nothing else is on its way.

        Raises:
            UnconfirmedError: the server did not say how many of them are stored.
        """
        self._batches += 1
        self._batch = Batch(self._outcome, self._write, f"{self._reply_prefix}.{self._batches}", outgoing)
        self._watch()
        try:
            await self._batch.answered()
        finally:
            self._batch = None

    def publish(self, outgoing: list[Outgoing], *, firsts: bool) -> None:
        """Publish messages through the window; `firsts` are those that their subjects' others wait for."""
        if firsts:
            self.window.publish_firsts(outgoing)
        else:
            self.window.publish(outgoing)
        self._watch()

    def check(self) -> None:
        """Raise `UnconfirmedError` if nothing can be published any more."""
        self.window.raise_failure()
        if not self.client.is_connected:
            raise UnconfirmedError("NATS: the connection was lost")

    @property
    def _publication(self) -> Publication:
        return self._batch or self.window

    def _on_acks(self, acks: Acks) -> None:
        try:
            self.window.on_acks(acks)
        except Exception as error:  # noqa: BLE001 - an exception here would end nats-py's reading
            self._publication.abandon(f"an answer is not understood ({error!r})")

    def _on_reply(self, reply: Msg) -> None:
        try:
            tokens = reply.subject[len(self._reply_prefix) + 1 :].split(".")
            if len(tokens) == 1:
                self.window.on_answer(tokens, read_answer(reply))
            elif self._batch is not None and tokens[0] == str(self._batches):
                self._batch.on_answer(tokens[1:], read_answer(reply))
        except Exception as error:  # noqa: BLE001 - an exception here would end nats-py's reading
            self._publication.abandon(f"an answer is malformed ({error!r}): {reply.data[:200]!r}")

    async def _on_error(self, error: Exception) -> None:
        logger.debug("NATS: %s", text_of(error))
        self._last_error = error
        self._interrupted(error)

    async def _on_end(self) -> None:
        self._interrupted(nats_errors.ConnectionClosedError())

    def _interrupted(self, error: Exception) -> None:
        """Take what the server says about the connection, or its end, if messages are on their way."""
        if self._publication.unanswered_bytes:
            self._publication.on_error(error)

    def _watch(self) -> None:
        """Check the connection for as long as messages are on their way."""
        if not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().call_later(CHECK_INTERVAL, self._check_answers)

    def _check_answers(self) -> None:
        self._is_watched = False
        publication = self._publication
        if publication.failure is not None or not publication.unanswered_bytes:
            return
        if self.client.is_closed:
            publication.abandon("the connection was lost")
        publication.check_patience()
        self._watch()

    async def close(self) -> None:
        """Drop the connection, and with it what is not on the wire yet: the next session sends it."""
        await close_client(self.client, drop_unsent=True)


def too_large(size: int, limit: int) -> PayloadTooLargeError:
    """Return the error for a payload of `size` bytes."""
    return PayloadTooLargeError(f"the message has {size} bytes; the NATS server accepts at most {limit}")
