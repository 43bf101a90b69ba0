"""A consumer that the API processes share: each message of a stream is handled by one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

_GROUP = "platform"
_ACK_WAIT = 10.0
"""Seconds after which an unacknowledged message is delivered again."""


async def consume(js: JetStreamContext, stream: str, subject: str, handle: Callable[[Msg], Awaitable[None]]) -> None:
    """Start to call `handle` with each message, from the first unacknowledged one; `handle` has to acknowledge it.

    The consumer is durable. If `handle` fails, or its process dies, the message is delivered again, to this process or
    another. So handling a message twice must have no further effect.
    """
    await js.subscribe(
        subject,
        queue=_GROUP,
        stream=stream,
        cb=handle,
        manual_ack=True,
        config=ConsumerConfig(ack_wait=_ACK_WAIT),
    )
