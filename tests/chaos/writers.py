"""What publishes while faults happen: the bridge, and raw nats-py beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from dataclasses import dataclass, field

import nats
from nats.errors import Error as NatsError

from flow_client import NatsBridge
from flow_client.errors import PlatformClientError

THREADS = 2
FLUSH_TIMEOUT = 60.0
RAW_PAUSE = 0.002
_RAW_TIMEOUT = 1.0
_RAW_RETRY_WAIT = 0.1
_TEXT = "x" * 40


@dataclass(frozen=True)
class Pace:
    """How fast a thread pushes: a burst of events, then a pause of some seconds; track 0 has a status now and then."""

    burst: int
    pause: float
    events_per_status: int


STEADY = Pace(burst=10, pause=0.004, events_per_status=300)
"""A fault finds events being made, waiting and under way."""
FULL_SPEED = Pace(burst=300, pause=0.001, events_per_status=30_000)
"""A fault finds as much under way as there ever is."""


@dataclass
class Accepted:
    """What a writer may rely on: how many events each of its tracks, and how many statuses, were accepted.

    `barriers` are pairs of a time and the number of track 0's events that were stored by then. `failed` are the
    events whose publishing raised: they may be stored or not.
    """

    execution_id: str
    events: dict[int, int] = field(default_factory=dict)
    statuses: int = 0
    barriers: list[tuple[float, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def total(self):
        """Events and statuses together."""
        return sum(self.events.values()) + self.statuses


class BridgeWriter:
    """Pushes events of one execution from several threads."""

    def __init__(self, url, pace=STEADY):
        self._pace = pace
        self.accepted = Accepted(str(uuid.uuid4()))
        self._bridge = NatsBridge(url)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(track,)) for track in range(THREADS)]

    def start(self):
        """Begin to publish."""
        for thread in self._threads:
            thread.start()

    def finish(self):
        """Stop, wait until everything is stored, and return what was accepted."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with self._bridge, self._noting_errors():
            self._bridge.flush(FLUSH_TIMEOUT)
        return self.accepted

    def _write(self, track):
        self.accepted.events[track] = 0
        with self._noting_errors():
            while not self._stop.is_set():
                self._push_burst(track)
                if track == 0 and self.accepted.events[0] % self._pace.events_per_status == 0:
                    self._push_status()
                time.sleep(self._pace.pause)

    def _push_burst(self, track):
        for _ in range(self._pace.burst):
            number = self.accepted.events[track] + 1
            data = {"track": track, "number": number, "text": _TEXT}
            self._bridge.push_execution_event(None, self.accepted.execution_id, "chunk", data)
            self.accepted.events[track] = number

    def _push_status(self):
        self._bridge.publish_execution_status(self.accepted.execution_id, str(self.accepted.statuses + 1))
        self.accepted.statuses += 1
        self.accepted.barriers.append((time.time(), self.accepted.events[0]))

    @contextlib.contextmanager
    def _noting_errors(self):
        try:
            yield
        except PlatformClientError as error:
            self.accepted.errors.append(f"{type(error).__name__}: {error}")


class RawWriter:
    """Awaits raw nats-py's `js.publish` for one event after the other.

    With `retries` it publishes an event again until that succeeds, as a careful user would; else it goes on.
    """

    def __init__(self, url, *, retries):
        self.accepted = Accepted(str(uuid.uuid4()), {0: 0})
        self._url = url
        self._retries = retries
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))

    def start(self):
        """Begin to publish."""
        self._thread.start()

    def finish(self):
        """Stop, and return what should be stored."""
        self._stop.set()
        self._thread.join()
        return self.accepted

    async def _write(self):
        client = await nats.connect(self._url.split(","), **_OPTIONS)
        js = client.jetstream(timeout=_RAW_TIMEOUT)
        try:
            while not self._stop.is_set():
                await self._publish(js, self.accepted.events[0] + 1)
                self.accepted.events[0] += 1
                await asyncio.sleep(RAW_PAUSE)
        finally:
            await client.close()

    async def _publish(self, js, number):
        subject = f"exec.events.{self.accepted.execution_id}"
        payload = json.dumps({"sequence": number, "event_data": {"track": 0, "number": number, "text": _TEXT}})
        published = await _try_to_publish(js, subject, payload.encode())
        while self._retries and not published:
            published = await _try_to_publish(js, subject, payload.encode())


async def _try_to_publish(js, subject, payload):
    try:
        await js.publish(subject, payload)
    except (NatsError, OSError, asyncio.TimeoutError):
        await asyncio.sleep(_RAW_RETRY_WAIT)
        return False
    return True


async def _ignore(_error):
    """Say nothing: what matters is what is stored in the end."""


# It connects again at once, so that the next fault finds it publishing.
_OPTIONS = {"error_cb": _ignore, "max_reconnect_attempts": -1, "reconnect_time_wait": 0.1}
