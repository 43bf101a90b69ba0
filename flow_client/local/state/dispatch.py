"""The work queue of executions that wait for a runner, by ring and level.

What a caller submits is on level 0, and what an execution on level N submits is on level N + 1. A runner has slots for
each level of its own, so an execution that waits for those it submitted never waits for its own slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig, Header, RetentionPolicy, StreamConfig
from nats.js.errors import APIError

from flow_client.local.state.streams import ensure_stream

if TYPE_CHECKING:
    from nats.js import JetStreamContext

STREAM = "EXEC_DISPATCH"
ACK_WAIT = 5.0
MAX_DELIVERIES = 3
LEVELS = 10
"""How deep executions may be nested: a component that submits itself without end must come to one."""
_WRONG_LAST_SEQUENCE = (10071, 10164)


def subject(ring_id: str, level: int | str, execution_id: str) -> str:
    """Return the subject of one execution; the runners of a ring take `subject(ring_id, level, "*")`."""
    return f"exec.dispatch.{ring_id}.{level}.{execution_id}"


def consumer_name(ring_id: str, level: int) -> str:
    """Return the name of the consumer that a ring's runners share for one level."""
    return f"ring-{ring_id}-{level}"


def consumer_config() -> ConsumerConfig:
    """Return the settings of such a consumer.

    It redelivers without limit: JetStream would only stop at one and leave the execution running for ever, so the
    runner counts the deliveries and ends it as dead letter.
    """
    return ConsumerConfig(ack_wait=ACK_WAIT, max_deliver=-1, max_ack_pending=-1)


async def ensure_dispatch(js: JetStreamContext) -> None:
    """Create the work queue unless it exists."""
    await ensure_stream(
        js, StreamConfig(name=STREAM, subjects=[subject("*", "*", "*")], retention=RetentionPolicy.WORK_QUEUE)
    )


async def publish_once(js: JetStreamContext, to: str, payload: bytes) -> None:
    """Publish unless a message to the same subject is waiting in the stream, which a window of time could not tell."""
    try:
        await js.publish(to, payload, headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0", Header.MSG_ID: to})
    except APIError as exc:
        if exc.err_code not in _WRONG_LAST_SEQUENCE:
            raise
