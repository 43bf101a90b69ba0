"""What the tests of the outbox share: streams with and without batches, and reading many events at once."""

import asyncio
import dataclasses
import json

import nats

from flow_client.local.streams import INPUT_STREAM, STREAMS

MODES = ("batch", "window")


def create_streams(url, mode, **settings):
    """Create the streams of the contract; `settings` are those of the logs among them."""

    async def create():
        connection = await nats.connect(url)
        try:
            for config in STREAMS:
                changes = {} if config.name == INPUT_STREAM else {"allow_batched": mode == "batch" or None, **settings}
                await connection.jetstream().add_stream(dataclasses.replace(config, **changes))
        finally:
            await connection.close()

    asyncio.run(create())


def read_events(url, execution_id):
    """Return all events of an execution in the order of the stream."""

    async def read():
        connection = await nats.connect(url)
        try:
            js = connection.jetstream()
            subject = f"exec.events.{execution_id}"
            counted = await js.stream_info("EXEC_EVENTS", subjects_filter=subject)
            count = (counted.state.subjects or {}).get(subject, 0)
            subscription = await js.subscribe(subject, ordered_consumer=True)
            return [json.loads((await subscription.next_msg(10)).data) for _ in range(count)]
        finally:
            await connection.close()

    return asyncio.run(read())
