"""What is stored in the end, read through plain nats-py and compared with what was accepted."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from itertools import pairwise

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from support.jetstream import with_jetstream

_BATCH = 2000
_FETCH_TIMEOUT = 5.0
_READ_TIMEOUT = 300.0


@dataclass
class Findings:
    """How what is stored differs from what was accepted."""

    events: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    longest_pause: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self):
        """Whether everything is stored once and in order, and nothing failed."""
        return not (self.lost or self.repeated or self.reordered or self.notes)

    def __add__(self, other):
        return Findings(
            self.events + other.events,
            self.lost + other.lost,
            self.repeated + other.repeated,
            self.reordered + other.reordered,
            max(self.longest_pause, other.longest_pause),
            self.notes + other.notes,
        )


@dataclass
class Stored:
    """A stored message."""

    time: float
    content: dict


def read(url, subject):
    """Return all stored messages of `subject`, the oldest first."""

    async def fetch_all(js):
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True)
        stream = await js.find_stream_name_by_subject(subject)
        consumer = await js.pull_subscribe(subject, stream=stream, config=config)
        waiting = (await consumer.consumer_info()).num_pending
        deadline, found = time.monotonic() + _READ_TIMEOUT, []
        while len(found) < waiting and time.monotonic() < deadline:
            with contextlib.suppress(NatsTimeoutError):
                found += await consumer.fetch(min(_BATCH, waiting - len(found)), _FETCH_TIMEOUT)
        if len(found) < waiting:
            raise RuntimeError(f"{subject}: read {len(found)} of {waiting} messages")
        return [Stored(message.metadata.timestamp.timestamp(), json.loads(message.data)) for message in found]

    return with_jetstream(url, fetch_all)


def compare(accepted, events, statuses):
    """Return how the stored `events` and `statuses` of an execution differ from what its writer says was accepted."""
    findings = sum(
        (count(total, _numbers_of(events, track)) for track, total in accepted.events.items()),
        count(accepted.statuses, [int(status.content["status"]) for status in statuses]),
    )
    findings.events = len(events) + len(statuses)
    findings.longest_pause = max((after.time - before.time for before, after in pairwise(events)), default=0.0)
    findings.notes += accepted.errors + _early_barriers(accepted, events)
    return findings


def wrong_sequence(events):
    """Return what is wrong with the events' own numbers, which must be 1, 2, 3 and so on as they are stored."""
    for expected, event in enumerate(events, 1):
        if event.content["sequence"] != expected:
            return [f"event {expected} is stored as number {event.content['sequence']}"]
    return []


def count(accepted, stored):
    """Return the findings for the numbers `stored`, which should be 1 … `accepted`.

    A few more than that may be stored: those whose publishing failed, or was interrupted.
    """
    first = list(dict.fromkeys(stored))
    highest, reordered = 0, 0
    for number in first:
        reordered += number < highest
        highest = max(highest, number)
    lost = len(set(range(1, accepted + 1)).difference(first))
    return Findings(lost=lost, repeated=len(stored) - len(first), reordered=reordered)


def _numbers_of(events, track):
    data = [event.content["event_data"] for event in events]
    return [item["number"] for item in data if item["track"] == track]


def _early_barriers(accepted, events):
    """Return what was not stored yet when a barrier said so."""
    stored_at = {e.content["event_data"]["number"]: e.time for e in events if e.content["event_data"]["track"] == 0}
    early = [number for at, number in accepted.barriers if number and stored_at.get(number, 0) > at]
    return [f"{len(early)} barriers returned before event {early[0]} was stored"] if early else []
