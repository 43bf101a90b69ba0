"""The JetStream streams that executions use: inputs, outputs, events and statuses."""

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
from flow_client._nats.jetstream import INPUT_STREAM

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

OUTPUT_STREAM = "EXEC_OUTPUT"
EVENT_STREAM = "EXEC_EVENTS"
STATUS_STREAM = "EXEC_STATUS"
DUPLICATE_WINDOW = 120.0
"""Seconds for which a stream remembers message ids and drops repetitions."""


def every(subject: str) -> str:
    """Return the wildcard that matches `subject` for all executions."""
    return subject.format(execution_id="*")


def execution_id_of(message: Msg) -> str:
    """Return the id of the execution that a message belongs to: the last token of every subject here."""
    return message.subject.rpartition(".")[2]


def _log(name: str, subject: str) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=[every(subject)],
        duplicate_window=DUPLICATE_WINDOW,
        allow_direct=True,
        allow_batched=True,
    )


STREAMS: tuple[StreamConfig, ...] = (
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
    """Create a stream unless one with its name exists; that one keeps its settings, which are its operator's choice."""
    try:
        await js.stream_info(str(config.name))
    except NotFoundError:
        await js.add_stream(config)


async def ensure_streams(js: JetStreamContext) -> None:
    """Create those of `STREAMS` that do not exist yet."""
    for config in STREAMS:
        await ensure_stream(js, config)
