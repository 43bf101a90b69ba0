"""JetStream as others see it: through plain nats-py, without flow_client."""

import asyncio
import dataclasses
import json

import nats

from flow_client.local.state.streams import INPUT_STREAM, STREAMS

TIMEOUT = 5.0
CONNECT_LIMIT = 30.0
MODES = ("batch", "window")
"""Streams that allow batched publishing, and streams that do not."""


def with_jetstream(url, action, *, timeout=TIMEOUT, **login):
    """Return what the coroutine function `action` returns for the JetStream of a connection of its own."""

    async def connected():
        connecting = nats.connect(url.split(","), error_cb=_ignore, connect_timeout=timeout, **login)
        connection = await asyncio.wait_for(connecting, CONNECT_LIMIT)  # left to itself it tries for minutes
        try:
            return await action(connection.jetstream(timeout=timeout))
        finally:
            await connection.close()

    return asyncio.run(connected())


def create_streams(url, mode="batch", *, replicas=1, login=None, **settings):
    """Create the contract's streams; `settings` are those of all but the work queue."""

    async def create(js):
        for config in STREAMS:
            changes = {} if config.name == INPUT_STREAM else {"allow_batched": mode == "batch" or None, **settings}
            await js.add_stream(dataclasses.replace(config, num_replicas=replicas, **changes))

    with_jetstream(url, create, **(login or {}))


def read_events(url, execution_id):
    """Return all events of an execution in the order of the stream."""

    async def read(js):
        subject = f"exec.events.{execution_id}"
        counted = await js.stream_info("EXEC_EVENTS", subjects_filter=subject)
        count = (counted.state.subjects or {}).get(subject, 0)
        subscription = await js.subscribe(subject, ordered_consumer=True)
        return [json.loads((await subscription.next_msg(10)).data) for _ in range(count)]

    return with_jetstream(url, read)


def read_execution_ids(url):
    """Return the ids of all executions that a local platform knows.

    nats-py's `KeyValue.keys` may see none, when the server has sent all of them before the client has looked at one.
    """

    async def read(js):
        info = await js.stream_info("KV_EXECUTIONS", subjects_filter=">")
        return [subject.rpartition(".")[2] for subject in info.state.subjects or ()]

    return with_jetstream(url, read)


async def _ignore(_error):
    """Say nothing: a server that is away is what many tests are about."""
