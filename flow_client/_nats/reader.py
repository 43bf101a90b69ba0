"""Reading a subject's messages in the order in which they are stored, across reconnects too."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.connection import ATTEMPT_TIMEOUT
from flow_client._nats.driver import bounded, read_error
from flow_client._nats.errors import NATS_ERRORS
from flow_client._nats.store import stream_of
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client._nats.connection import Connection

OUTAGE_TIMEOUT = 3600.0
"""Seconds for one step during an outage. It only has to be long: readers wait for as long as the outage lasts."""
LARGEST_BATCH = 4096
LEAVE_TIMEOUT = 2.0
"""Seconds for one step of leaving."""
LONGEST_LEAVE = 4 * LEAVE_TIMEOUT
CHECK_INTERVAL = 5.0
"""Seconds without a message after which the reader checks that the server still has the consumer."""
INACTIVE_THRESHOLD = 5.0
"""Seconds after which the server removes a consumer whose reader was killed."""
_AVAILABLE = 0.001


class SubjectReader:
    """Reads the messages of one subject, beginning with the first one stored.

    Each of its consumers has a unique name that is chosen here, before the server is asked to create it: so it can be
    deleted even if the answer is lost.

    Args:
        connection: the connection.
        subject: the subject, without wildcards.
    """

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._stream = ""
        self._name = ""
        self._creating: asyncio.Task[Any] | None = None
        self._subscription: JetStreamContext.PushSubscription | None = None
        self._generation = 0
        self._delivered = 0
        self._last = 0
        # They outlive an attempt that is cancelled, or that a slow machine cannot end in time.
        self._taken: list[bytes] = []
        self._check = Deadline(CHECK_INTERVAL)
        self._closed = False
        self._reading: asyncio.Task[Any] | None = None

    @property
    def position(self) -> int:
        """The stream sequence of the last message that was read; 0 before the first."""
        return self._last

    async def read(self, timeout: float) -> list[bytes]:
        """Return the next messages, none if none arrived within `timeout` seconds.

        Raises:
            BridgeError: NATS refused, or no stream takes the subject.
        """

        async def read_once(js: JetStreamContext) -> None:
            await self._end_reading()
            self._reading = asyncio.current_task()
            await self._batch(await self._current_subscription(js), timeout)
            if not self._taken and self._subscription is None:
                await self._batch(await self._current_subscription(js), timeout)

        await self._connection.attempt(
            read_once, f"reading {self._subject}", Deadline(OUTAGE_TIMEOUT), each=timeout + 2 * ATTEMPT_TIMEOUT
        )
        payloads, self._taken = self._taken, []
        if payloads:
            self._check = Deadline(CHECK_INTERVAL)
        elif self._check.remaining() <= 0:
            await self._check_consumer()
        return payloads

    async def close(self) -> None:
        """Stop reading and delete the consumer. It raises nothing and can be called twice."""
        self._closed = True
        await self._end_reading()
        self._connection.closers.discard(self.close)
        await self._leave(*self._let_go())

    async def _end_reading(self) -> None:
        """End an attempt that is still under way, and wait for it: nats-py may go on although it was cancelled."""
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait({self._reading}, timeout=LEAVE_TIMEOUT)

    def _let_go(
        self,
    ) -> tuple[JetStreamContext.PushSubscription | None, str, asyncio.Task[Any] | None]:
        former = self._subscription, self._name, self._creating
        self._subscription, self._name, self._creating = None, "", None
        return former

    async def _leave(
        self,
        subscription: JetStreamContext.PushSubscription | None,
        name: str,
        creating: asyncio.Task[Any] | None,
    ) -> None:
        if subscription is not None:
            with contextlib.suppress(*NATS_ERRORS):  # it may have ended with the connection
                await bounded(subscription.unsubscribe(), LEAVE_TIMEOUT)
        if creating is not None:
            # The server may carry out a deletion before a creation that it was sent earlier.
            await asyncio.wait({creating}, timeout=LEAVE_TIMEOUT)
        if name:
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        async def remove(js: JetStreamContext) -> None:
            with contextlib.suppress(js_errors.NotFoundError):
                await js.delete_consumer(self._stream, name)

        try:
            await self._connection.attempt(remove, f"leaving {self._subject}", Deadline(LEAVE_TIMEOUT))
        except PlatformClientError as error:
            logger.debug("a consumer was not deleted, the server will remove it: %s", error)

    def _restart(self) -> None:
        """Have the next read use a new consumer, which begins after the last message that was read."""
        former = self._let_go()
        if any(former):
            self._connection.in_background(lambda: self._leave(*former))

    async def _current_subscription(self, js: JetStreamContext) -> JetStreamContext.PushSubscription:
        # Messages on their way when the connection was lost are lost too.
        if self._subscription is None or self._generation != self._connection.generation:
            self._restart()
            self._subscription = await self._subscribe(js)
        self._check_open()
        return self._subscription

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the iterator over the events is closed")

    async def _subscribe(self, js: JetStreamContext) -> JetStreamContext.PushSubscription:
        self._generation, self._delivered = self._connection.generation, 0
        self._stream = self._stream or await stream_of(js, self._subject)
        self._check_open()
        config = self._config()
        self._name = str(config.name)
        self._connection.closers.add(self.close)
        self._creating = asyncio.ensure_future(js.add_consumer(self._stream, config))
        self._creating.add_done_callback(read_error)
        await asyncio.shield(self._creating)
        return await js.subscribe_bind(self._stream, config, self._name)

    def _config(self) -> ConsumerConfig:
        name = f"events-{secrets.token_hex(8)}"
        return ConsumerConfig(
            name=name,
            deliver_subject=f"_INBOX.{name}",
            filter_subject=self._subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._last + 1,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            inactive_threshold=INACTIVE_THRESHOLD,
            num_replicas=1,
            mem_storage=True,
        )

    async def _batch(self, subscription: JetStreamContext.PushSubscription, timeout: float) -> None:
        """Wait for one message and take what has come with it."""
        while len(self._taken) < LARGEST_BATCH and (
            message := await _next(subscription, _AVAILABLE if self._taken else timeout)
        ):
            position, self._delivered = message.metadata.sequence.stream, self._delivered + 1
            if message.metadata.sequence.consumer != self._delivered:
                # nats-py drops messages when a reader is slow.
                self._restart()
                break
            if position > self._last:
                self._last = position
                self._taken.append(message.data)
            if not subscription.pending_msgs:
                break

    async def _check_consumer(self) -> None:
        """Restart if the server has lost the consumer, or has sent messages that never arrived."""
        name = self._name

        async def delivered(js: JetStreamContext) -> int:
            try:
                found = (await js.consumer_info(self._stream, name)).delivered
            except js_errors.NotFoundError:
                return -1
            return 0 if found is None else found.consumer_seq

        self._check = Deadline(CHECK_INTERVAL)
        before = self._delivered
        count = await self._connection.attempt(delivered, f"reading {self._subject}", Deadline(OUTAGE_TIMEOUT))
        if name == self._name and count != before:
            self._restart()


async def _next(subscription: JetStreamContext.PushSubscription, timeout: float) -> Msg | None:
    try:
        return await subscription.next_msg(timeout)
    except asyncio.TimeoutError:
        return None
