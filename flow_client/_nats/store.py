"""Reading what JetStream holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js import errors as js_errors
from nats.js.api import Header

from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg

    from flow_client._core.deadline import Deadline
    from flow_client._nats.connection import Connection


@dataclass(frozen=True)
class Stored:
    """A message in a stream."""

    stream_sequence: int
    message_id: str | None
    payload: bytes


async def last_stored(connection: Connection, subject: str, deadline: Deadline) -> Stored | None:
    """Return the subject's last message, None if it has none."""

    async def read(js: JetStreamContext) -> Stored | None:
        return await read_last(js, await stream_of(js, subject), subject)

    return await connection.attempt(read, f"reading the last message of {subject}", deadline)


async def read_last(js: JetStreamContext, stream: str, subject: str) -> Stored | None:
    """Return the subject's last message, None if it has none."""
    try:
        # Answered by the stream's leader; a direct get could be answered by a replica that lags behind.
        message = await js.get_last_msg(stream, subject)
    except js_errors.NotFoundError:
        return None
    return _stored(message)


async def read_next(js: JetStreamContext, stream: str, subject: str, position: int) -> Stored | None:
    """Return the subject's first message after a stream sequence, None if it has none."""
    try:
        return _stored(await js.get_msg(stream, seq=position + 1, subject=subject, next=True))
    except js_errors.NotFoundError:
        return None


def _stored(message: RawStreamMsg) -> Stored:
    message_id = (message.headers or {}).get(Header.MSG_ID.value)
    return Stored(message.seq or 0, message_id, message.data or b"")


async def stream_of(js: JetStreamContext, subject: str) -> str:
    """Return the name of the stream that takes `subject`; raise `BridgeError` if none does."""
    try:
        return await js.find_stream_name_by_subject(subject)
    except js_errors.NotFoundError as error:
        raise BridgeError(f"no JetStream stream takes {subject}") from error
