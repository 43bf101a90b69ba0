"""Those who publish in the benchmark: the bridge, and raw nats-py in the ways that a user would write it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import nats

from flow_client import NatsBridge

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD_BYTES = 200
FLUSH_TIMEOUT = 60.0
_TIMESTAMP = "2026-01-01T00:00:00.000000+00:00"


class Ours:
    """A bridge that publishes messages of 200 bytes."""

    def __init__(self, url: str) -> None:
        self._bridge = NatsBridge(url)
        self._execution_id = str(uuid.uuid4())
        self._text = "x" * (PAYLOAD_BYTES - len(_event(self._execution_id)))
        self._bridge.publish_execution_status(self._execution_id, "running")

    def events(self, count: int) -> float:
        """Return the seconds for `count` events until they are stored."""
        started = time.perf_counter()
        for _ in range(count):
            self._push_event()
        self._bridge.flush(FLUSH_TIMEOUT)
        return time.perf_counter() - started

    def event_calls(self, count: int) -> list[float]:
        """Return the seconds of each of `count` calls that push an event."""
        seconds = _seconds_of_each(self._push_event, count)
        self._bridge.flush(FLUSH_TIMEOUT)
        return seconds

    def output_calls(self, count: int) -> list[float]:
        """Return the seconds of each of `count` calls that store an output."""
        ids = iter([str(uuid.uuid4()) for _ in range(count)])
        return _seconds_of_each(lambda: self._bridge.push_execution_output(None, next(ids), "done"), count)

    def close(self) -> None:
        """Close the bridge."""
        self._bridge.close()

    def _push_event(self) -> None:
        self._bridge.push_execution_event(None, self._execution_id, "chunk", self._text)


class Raw:
    """One connection of raw nats-py, in an event loop of its own, that publishes messages of 200 bytes."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(nats.connect(url))
        self._js = self._client.jetstream()
        self._subject = f"exec.events.{uuid.uuid4()}"
        self._payload = b"x" * PAYLOAD_BYTES

    def one_by_one(self, count: int) -> float:
        """Return the seconds for awaiting `js.publish` for each message."""

        async def publish() -> None:
            for _ in range(count):
                await self._js.publish(self._subject, self._payload)

        return self._seconds_of(publish())

    def pipelined(self, count: int) -> float:
        """Return the seconds for `js.publish_async` of all messages and their acknowledgements."""

        async def publish() -> None:
            for _ in range(count):
                await self._js.publish_async(self._subject, self._payload)
            await self._js.publish_async_completed()

        return self._seconds_of(publish())

    def hop_each(self, count: int) -> float:
        """Return the seconds for one `run_coroutine_threadsafe(js.publish(…)).result()` for each message."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        started = time.perf_counter()
        for _ in range(count):
            publishing = self._js.publish(self._subject, self._payload)
            asyncio.run_coroutine_threadsafe(publishing, self._loop).result()
        seconds = time.perf_counter() - started
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        return seconds

    def publish_calls(self, count: int) -> list[float]:
        """Return the seconds of each of `count` times `await js.publish`."""
        seconds: list[float] = []

        async def publish() -> None:
            for _ in range(count):
                started = time.perf_counter()
                await self._js.publish(self._subject, self._payload)
                seconds.append(time.perf_counter() - started)

        self._loop.run_until_complete(publish())
        return seconds

    def close(self) -> None:
        """Close the connection and the loop."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()

    def _seconds_of(self, publishing: Any) -> float:
        started = time.perf_counter()
        self._loop.run_until_complete(publishing)
        return time.perf_counter() - started


def _event(execution_id: str) -> str:
    """Return an event without data as it is sent."""
    event = {"execution_id": execution_id, "sequence": 1000, "event_type": "chunk", "event_data": ""}
    return json.dumps({**event, "timestamp": _TIMESTAMP}, separators=(",", ":"))


def _seconds_of_each(call: Callable[[], None], count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds
