"""Handle every message of a stream, in one of the API processes that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

_GROUP = "platform"
_ACK_WAIT = 10.0


async def consume(js: JetStreamContext, stream: str, subject: str, handle: Callable[[Msg], Awaitable[None]]) -> None:
    """Begin to call `handle` with each message, from the first that was never acknowledged; `handle` acknowledges.

    The consumer is durable and shared: a message whose handling failed, or was cut short by the end of its process, is
    delivered again, here or to another process. Handling a message twice must therefore change nothing.
    """
    await js.subscribe(
        subject,
        queue=_GROUP,
        stream=stream,
        cb=handle,
        manual_ack=True,
        config=ConsumerConfig(ack_wait=_ACK_WAIT),
    )
