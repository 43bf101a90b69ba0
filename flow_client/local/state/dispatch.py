"""The work queue of executions that wait for a runner, by ring and nesting level.

A caller's executions are on level 0; those that an execution on level N submits are on level N + 1. A runner has
separate slots for each level, so an execution that waits for others never occupies a slot that they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import ConsumerConfig, Header, RetentionPolicy, StreamConfig
from nats.js.errors import APIError

from flow_client._nats.jetstream import WRONG_LAST_SEQUENCE
from flow_client.local.state.streams import ensure_stream

if TYPE_CHECKING:
    from nats.js import JetStreamContext

STREAM = "EXEC_DISPATCH"
ACK_WAIT = 5.0
"""Seconds after which a delivery is repeated if its runner shows no sign of life."""
MAX_DELIVERIES = 3
"""How often a runner starts an execution's worker before it gives up."""
LEVELS = 10
"""How deep executions may be nested. The limit stops a component that submits itself endlessly."""


def subject(ring_id: str, level: int | str, execution_id: str) -> str:
    """Return the subject of one execution; a ring's runners consume `subject(ring_id, level, "*")`."""
    return f"exec.dispatch.{ring_id}.{level}.{execution_id}"


def consumer_name(ring_id: str, level: int) -> str:
    """Return the name of the consumer that a ring's runners share on one level."""
    return f"ring-{ring_id}-{level}"


def consumer_config() -> ConsumerConfig:
    """Return the settings of such a consumer.

    It redelivers without limit. With a limit JetStream would just stop, and the execution would stay `running` for
    ever; instead the runner counts the deliveries and ends the execution as `dead_letter`.
    """
    return ConsumerConfig(ack_wait=ACK_WAIT, max_deliver=-1, max_ack_pending=-1)


async def ensure_dispatch(js: JetStreamContext) -> None:
    """Create the work queue unless it exists."""
    await ensure_stream(
        js, StreamConfig(name=STREAM, subjects=[subject("*", "*", "*")], retention=RetentionPolicy.WORK_QUEUE)
    )


async def publish_once(js: JetStreamContext, to: str, payload: bytes) -> None:
    """Publish unless the stream holds a message to the same subject; a window for duplicates would forget that."""
    try:
        await js.publish(to, payload, headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0", Header.MSG_ID: to})
    except APIError as error:
        if error.err_code not in WRONG_LAST_SEQUENCE:
            raise
