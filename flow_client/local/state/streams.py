"""The JetStream streams of the contract (section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from flow_client._api._generated.operations import (
    EXECUTION_EVENT_SUBJECT,
    EXECUTION_INPUT_SUBJECT,
    EXECUTION_OUTPUT_SUBJECT,
    EXECUTION_STATUS_UPDATE_SUBJECT,
)

if TYPE_CHECKING:
    from nats.js import JetStreamContext

INPUT_STREAM = "EXEC_INPUT"
OUTPUT_STREAM = "EXEC_OUTPUT"
EVENT_STREAM = "EXEC_EVENTS"
STATUS_STREAM = "EXEC_STATUS"
DUPLICATE_WINDOW = 120.0


def every(subject: str) -> str:
    """Return the wildcard that matches `subject` for all executions."""
    return subject.format(execution_id="*")


def _log(name: str, subject: str) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=[every(subject)],
        duplicate_window=DUPLICATE_WINDOW,
        allow_direct=True,
        allow_batched=True,
    )


STREAMS = (
    StreamConfig(
        name=INPUT_STREAM,
        subjects=[every(EXECUTION_INPUT_SUBJECT)],
        retention=RetentionPolicy.WORK_QUEUE,
        duplicate_window=DUPLICATE_WINDOW,
    ),
    _log(OUTPUT_STREAM, EXECUTION_OUTPUT_SUBJECT),
    _log(EVENT_STREAM, EXECUTION_EVENT_SUBJECT),
    _log(STATUS_STREAM, EXECUTION_STATUS_UPDATE_SUBJECT),
)


async def ensure_stream(js: JetStreamContext, config: StreamConfig) -> None:
    """Create a stream unless there is one of its name, whose settings are then its operator's own."""
    try:
        await js.stream_info(str(config.name))
    except NotFoundError:
        await js.add_stream(config)


async def ensure_streams(js: JetStreamContext) -> None:
    """Create the streams of the contract that do not exist yet."""
    for config in STREAMS:
        await ensure_stream(js, config)
