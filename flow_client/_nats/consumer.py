"""The pull consumer through which exactly one worker takes an execution's input."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from typing import TYPE_CHECKING

from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig

from flow_client._core.deadline import Deadline
from flow_client._nats.connection import ATTEMPT_TIMEOUT
from flow_client._nats.driver import bounded
from flow_client._nats.errors import NATS_ERRORS
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client._nats.connection import Connection

ACK_WAIT = 30.0
FETCH_TIMEOUT = 5.0
INACTIVE_THRESHOLD = 24 * 3600.0
"""Seconds after which the server removes a consumer whose worker was killed and has no successor."""

_SUBJECT_IS_TAKEN = (10099, 10100)
"""Error codes for a subject that already has a consumer."""


class TakenOverError(BridgeError):
    """Another worker has taken over the execution."""


class Consumer:
    """A durable consumer of one subject of a work queue.

    Each consumer has a unique name, not one derived from the subject: the server would let an earlier consumer of the
    same name acknowledge what was delivered to this one.

    Args:
        connection: the connection.
        stream: the name of the work queue's stream.
        subject: the subject, without wildcards.
    """

    def __init__(self, connection: Connection, stream: str, subject: str) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._name = ""
        self._message: Msg | None = None
        self._doing = f"taking the input from {subject}"

    async def take(self, deadline: Deadline) -> bytes | None:
        """Take over from any earlier worker and return the next message, None if none came before the deadline.

        Raises:
            TakenOverError: another worker took over from this one in the meantime.
            BridgeError: NATS refused.
            BridgeTimeoutError: NATS did not answer before the deadline.
        """
        while self._message is None and deadline.remaining() > 0:
            await self._connection.attempt(self._attach, self._doing, deadline)
            self._message = await self._fetch_until(deadline, self._connection.generation)
        return None if self._message is None else self._message.data

    async def settle(self, kind: bytes, deadline: Deadline) -> None:
        """Answer the message that was taken with `kind` and wait for the server's confirmation.

        Args:
            kind: the acknowledgement, such as `+ACK`.
            deadline: when to give up.

        Raises:
            TakenOverError: another worker has taken the message over.
            BridgeTimeoutError: the server did not confirm before the deadline.
        """
        reply = self._message.reply if self._message else ""

        async def acknowledge(js: JetStreamContext) -> None:
            try:
                await self._connection.request(reply, kind)
            except nats_errors.NoRespondersError:
                await self._check_still_ours(js)
                raise

        await self._connection.attempt(acknowledge, f"acknowledging {self._subject}", deadline)

    async def delete(self, deadline: Deadline) -> None:
        """Delete the consumer; a message that it did not acknowledge is free for any worker."""

        async def remove(js: JetStreamContext) -> None:
            with contextlib.suppress(js_errors.NotFoundError):
                await js.delete_consumer(self._stream, self._name)

        await self._connection.attempt(remove, f"leaving {self._subject}", deadline)

    async def _attach(self, js: JetStreamContext) -> None:
        former, self._name = self._name, ""
        if former:
            # A new consumer delivers at once what was lost on its way to this one.
            await self._give_up(js, former)
        config = self._config()
        try:
            await js.add_consumer(self._stream, config)
        except js_errors.BadRequestError as error:
            if error.err_code not in _SUBJECT_IS_TAKEN:
                raise
            await self._evict_predecessors(js)
            await js.add_consumer(self._stream, config)
        self._name = str(config.name)

    def _config(self) -> ConsumerConfig:
        name = f"input-{self._subject.rpartition('.')[2]}-{secrets.token_hex(8)}"
        return ConsumerConfig(
            name=name,
            durable_name=name,
            filter_subject=self._subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            max_ack_pending=1,
            inactive_threshold=INACTIVE_THRESHOLD,
        )

    async def _give_up(self, js: JetStreamContext, name: str) -> None:
        try:
            await js.delete_consumer(self._stream, name)
        except js_errors.NotFoundError as error:
            raise TakenOverError(f"another worker has taken over {self._subject}") from error

    async def _evict_predecessors(self, js: JetStreamContext) -> None:
        offset, names = 0, []
        while page := await js.consumers_info(self._stream, offset):
            names += [info.name for info in page if info.config.filter_subject == self._subject]
            offset += len(page)
        for name in names:
            with contextlib.suppress(js_errors.NotFoundError):
                await js.delete_consumer(self._stream, name)

    async def _fetch_until(self, deadline: Deadline, generation: int) -> Msg | None:
        """Fetch until there is a message, the deadline passes or the connection was replaced."""
        answered = Deadline(deadline.remaining() + ATTEMPT_TIMEOUT)
        subscription = await self._connection.attempt(self._bind, self._doing, answered)
        message = None
        try:
            while message is None and generation == self._connection.generation and deadline.remaining() > 0:
                timeout = min(FETCH_TIMEOUT, deadline.remaining())
                fetch = functools.partial(self._fetch_once, subscription, timeout)
                message = await self._connection.attempt(fetch, self._doing, answered, each=timeout + ATTEMPT_TIMEOUT)
        finally:
            with contextlib.suppress(*NATS_ERRORS):  # the connection may be closed, and the subscription with it
                await bounded(subscription.unsubscribe(), ATTEMPT_TIMEOUT)
        return message

    async def _bind(self, js: JetStreamContext) -> JetStreamContext.PullSubscription:
        return await js.pull_subscribe_bind(self._name, self._stream)

    async def _fetch_once(
        self, subscription: JetStreamContext.PullSubscription, timeout: float, js: JetStreamContext
    ) -> Msg | None:
        try:
            return (await subscription.fetch(1, timeout=timeout))[0]
        except (asyncio.TimeoutError, nats_errors.ConnectionClosedError, js_errors.ServiceUnavailableError):
            await self._check_still_ours(js)
            return None

    async def _check_still_ours(self, js: JetStreamContext) -> None:
        try:
            await js.consumer_info(self._stream, self._name)
        except js_errors.NotFoundError as error:
            raise TakenOverError(f"another worker has taken over {self._subject}") from error
