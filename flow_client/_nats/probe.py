"""One look at a NATS server for a diagnosis. Nothing is changed there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.js import errors as js_errors

from flow_client._core.deadline import Deadline
from flow_client._nats.connection import Connection
from flow_client._nats.driver import bounded
from flow_client._nats.errors import NATS_ERRORS, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nats.js import JetStreamContext

    from flow_client._nats.servers import Servers

ANSWER_SECONDS = 0.8


@dataclass(frozen=True)
class StreamProbe:
    """What takes the messages of a subject.

    Attributes:
        subject: the subject.
        name: the stream, None if none takes it or if that could not be found out.
        takes_batches: whether it takes batches of messages.
        problem: why it could not be found out, None if it could.
    """

    subject: str
    name: str | None = None
    takes_batches: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class NatsProbe:
    """What a server that was logged in to says.

    Attributes:
        round_trip: seconds of a ping.
        max_payload: the limit of a message in bytes.
        streams: what takes the messages of each subject.
    """

    round_trip: float
    max_payload: int
    streams: tuple[StreamProbe, ...]


def probe(servers: Servers, subjects: Iterable[str], seconds: float) -> NatsProbe:
    """Log in, look and leave, in a loop of this thread's own.

    Args:
        servers: the servers.
        subjects: the subjects whose streams are looked for.
        seconds: the time for connecting.

    Raises:
        BridgeError: the server refused the client, or none answered.
    """
    return asyncio.run(_probe(servers, subjects, seconds))


async def _probe(servers: Servers, subjects: Iterable[str], seconds: float) -> NatsProbe:
    connection = Connection(servers, seconds)
    try:
        client = await connection.client(Deadline(seconds))
        started = time.monotonic()
        await client.flush(timeout=1)
        round_trip = time.monotonic() - started
        js = client.jetstream(timeout=ANSWER_SECONDS)
        streams = await asyncio.gather(*(_stream(js, subject) for subject in subjects))
        return NatsProbe(round_trip, connection.max_payload, tuple(streams))
    finally:
        await connection.close()


async def _stream(js: JetStreamContext, subject: str) -> StreamProbe:
    try:
        name = await bounded(js.find_stream_name_by_subject(subject), ANSWER_SECONDS)
        config = (await bounded(js.stream_info(name), ANSWER_SECONDS)).config
        return StreamProbe(subject, name, takes_batches=bool(config.allow_batched))
    except js_errors.NotFoundError:
        return StreamProbe(subject)
    except NATS_ERRORS as error:
        return StreamProbe(subject, problem=text_of(error))
