"""Reading a subject's messages in the order in which they are stored, also across reconnects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats.errors import ConnectionClosedError
from nats.js.api import ConsumerConfig, DeliverPolicy

from flow_client._deadline import Deadline
from flow_client._nats import ATTEMPT_TIMEOUT
from flow_client._nats_store import stream_of

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client._nats import Connection

# An outage is waited out: whoever reads has set no limit of time.
OUTAGE_TIMEOUT = 3600.0
LARGEST_BATCH = 4096
_AVAILABLE = 0.001


class SubjectReader:
    """Reads the messages of one subject, from the first that is stored on.

    Args:
        connection: the connection.
        subject: the subject, without wildcards.
    """

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._subscription: JetStreamContext.PushSubscription | None = None
        self._generation = 0
        self._delivered = 0
        self._last = 0

    @property
    def position(self) -> int:
        """The sequence number, in the stream, of the last message that was read; 0 before the first."""
        return self._last

    async def read(self, timeout: float) -> list[bytes]:
        """Return the messages that come next, none if there is none within `timeout` seconds.

        Raises:
            BridgeError: NATS refused, or no stream takes the subject.
        """

        async def read_once(js: JetStreamContext) -> list[bytes]:
            payloads = await self._batch(await self._current_subscription(js), timeout)
            if payloads or self._subscription is not None:
                return payloads
            return await self._batch(await self._current_subscription(js), timeout)

        return await self._connection.attempt(
            read_once, f"reading {self._subject}", Deadline(OUTAGE_TIMEOUT), each=timeout + 2 * ATTEMPT_TIMEOUT
        )

    async def close(self) -> None:
        """End the subscription."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except ConnectionClosedError:
                return  # it ended with the connection

    async def _current_subscription(self, js: JetStreamContext) -> JetStreamContext.PushSubscription:
        # What was under way when the connection was lost is lost too: begin behind the last message that was read.
        if self._subscription is None or self._generation != self._connection.generation:
            await self.close()
            self._generation = self._connection.generation
            self._delivered = 0
            self._subscription = await js.subscribe(
                self._subject,
                stream=await stream_of(js, self._subject),
                ordered_consumer=True,
                config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._last + 1),
            )
        return self._subscription

    async def _batch(self, subscription: JetStreamContext.PushSubscription, timeout: float) -> list[bytes]:
        """Wait for one message and take what has come with it."""
        payloads: list[bytes] = []
        # Longer ones would not come through in the time that one attempt has.
        while len(payloads) < LARGEST_BATCH and (
            message := await _next(subscription, _AVAILABLE if payloads else timeout)
        ):
            position, self._delivered = message.metadata.sequence.stream, self._delivered + 1
            if message.metadata.sequence.consumer != self._delivered:
                # nats drops what a slow reader leaves lying: begin anew behind what was read.
                await self.close()
                break
            if position > self._last:
                self._last = position
                payloads.append(message.data)
            if not subscription.pending_msgs:
                break
        return payloads


async def _next(subscription: JetStreamContext.PushSubscription, timeout: float) -> Msg | None:
    try:
        return await subscription.next_msg(timeout)
    except asyncio.TimeoutError:
        return None
