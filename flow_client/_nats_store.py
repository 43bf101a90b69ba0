"""What JetStream stores: publishing until it confirms, and reading what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js import errors as js_errors
from nats.js.api import Header

from flow_client._nats import ATTEMPT_TIMEOUT
from flow_client.errors import BridgeError, PayloadTooLargeError

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from flow_client._deadline import Deadline
    from flow_client._nats import Connection

# The server counts headers as payload, and a message over its limit ends the connection for good.
HEADER_ALLOWANCE = 512


@dataclass(frozen=True)
class Stored:
    """Where a message stands in its stream. `duplicate`: it stood there already."""

    stream_sequence: int
    duplicate: bool


@dataclass(frozen=True)
class LastStored:
    """The last message of a subject."""

    stream_sequence: int
    message_id: str | None
    payload: bytes


async def publish(
    connection: Connection,
    subject: str,
    payload: bytes,
    message_id: str,
    deadline: Deadline,
    *,
    expected_last: int | None = None,
) -> Stored:
    """Publish until the stream has confirmed the message, which is then stored once.

    Args:
        connection: the connection.
        subject: the subject.
        payload: the message.
        message_id: a name of its own, by which a repetition is recognised.
        deadline: when to give up.
        expected_last: the stream sequence of the subject's last message, 0 if there is none; None for any.

    Raises:
        PayloadTooLargeError: the server does not take messages of that size.
        WrongSequenceError: `expected_last` is not the last message.
        BridgeTimeoutError: no confirmation in time; the message may be stored.
        BridgeError: it was refused, or no stream takes the subject.
    """
    headers = {Header.MSG_ID.value: message_id}
    if expected_last is not None:
        headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(expected_last)

    async def publish_once(js: JetStreamContext) -> Stored:
        _check_size(payload, connection.max_payload)
        try:
            ack = await js.publish(subject, payload, timeout=ATTEMPT_TIMEOUT, headers=dict(headers))
        except js_errors.NoStreamResponseError:
            await stream_of(js, subject)  # an election passes, a stream that is missing does not
            raise
        return Stored(ack.seq, bool(ack.duplicate))

    return await connection.attempt(publish_once, f"publishing to {subject}", deadline)


async def last_stored(connection: Connection, subject: str, deadline: Deadline) -> LastStored | None:
    """Return the subject's last message, None if there is none."""

    async def look(js: JetStreamContext) -> LastStored | None:
        stream = await stream_of(js, subject)
        try:
            # From the stream's leader: a direct get may come from a replica that is behind.
            message = await js.get_last_msg(stream, subject)
        except js_errors.NotFoundError:
            return None
        message_id = (message.headers or {}).get(Header.MSG_ID.value)
        return LastStored(message.seq or 0, message_id, message.data or b"")

    return await connection.attempt(look, f"reading the last message of {subject}", deadline)


def _check_size(payload: bytes, max_payload: int) -> None:
    limit = max_payload - HEADER_ALLOWANCE
    if len(payload) > limit:
        raise PayloadTooLargeError(f"the message has {len(payload)} bytes, the NATS server takes {limit}")


async def stream_of(js: JetStreamContext, subject: str) -> str:
    """Return the name of the stream that takes `subject`; raise `BridgeError` if none does."""
    try:
        return await js.find_stream_name_by_subject(subject)
    except js_errors.NotFoundError as exc:
        raise BridgeError(f"no JetStream stream takes {subject}") from exc
