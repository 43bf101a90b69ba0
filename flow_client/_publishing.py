"""Publishing an execution's output, status and events, each stored once and in order."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flow_client._deadline import Deadline
from flow_client._generated import operations
from flow_client._nats import WrongSequenceError
from flow_client._nats_store import last_stored, publish
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from flow_client._messages import EventDraft
    from flow_client._nats import Connection
    from flow_client._nats_store import LastStored


@dataclass
class _EventLog:
    """What is known of the events of one execution."""

    subject: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sequence: int = 0
    stream_sequence: int = 0
    known: bool = False

    def note(self, sequence: int, stream_sequence: int) -> None:
        self.sequence, self.stream_sequence, self.known = sequence, stream_sequence, True


class Publisher:
    """Publishes over one connection.

    Args:
        connection: the connection.
        timeout: seconds until a message is given up that the server does not confirm.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._name = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._logs: dict[str, _EventLog] = {}

    async def output(self, execution_id: str, payload: bytes) -> None:
        """Store an execution's output; its events are over."""
        await self._store(operations.EXECUTION_OUTPUT_SUBJECT, execution_id, payload)
        self._logs.pop(execution_id, None)

    async def status(self, execution_id: str, payload: bytes) -> None:
        """Store a change of an execution's status."""
        await self._store(operations.EXECUTION_STATUS_UPDATE_SUBJECT, execution_id, payload)

    async def event(self, draft: EventDraft) -> None:
        """Store an event under the number that follows the last stored one, whoever stored that."""
        execution_id = draft.execution_id
        log = self._logs.get(execution_id)
        if log is None:
            subject = operations.EXECUTION_EVENT_SUBJECT.format(execution_id=execution_id)
            log = self._logs.setdefault(execution_id, _EventLog(subject))
        async with log.lock:
            try:
                await self._append(log, draft)
            except BaseException:
                log.known = False  # it may have been stored all the same
                raise

    async def _append(self, log: _EventLog, draft: EventDraft) -> None:
        deadline, message_id = Deadline(self._timeout), self._message_id()
        while True:
            if not log.known and await self._catch_up(log, deadline) == message_id:
                return
            number = log.sequence + 1
            try:
                stored = await publish(
                    self._connection,
                    log.subject,
                    draft.numbered(number),
                    message_id,
                    deadline,
                    expected_last=log.stream_sequence,
                )
            except WrongSequenceError:
                # Somebody else has written, or this was an attempt too many of a message that is stored.
                log.known = False
            else:
                log.note(number, stored.stream_sequence)
                # A duplicate is an earlier attempt of this message, under a number that only the stream knows.
                log.known = not stored.duplicate
                return

    async def _catch_up(self, log: _EventLog, deadline: Deadline) -> str | None:
        """Bring `log` up to what is stored and return the last message's id."""
        last = await last_stored(self._connection, log.subject, deadline)
        if last is None:
            log.note(log.sequence, 0)
            return None
        log.note(max(log.sequence, _sequence(last)), last.stream_sequence)
        return last.message_id

    async def _store(self, subject: str, execution_id: str, payload: bytes) -> None:
        await publish(
            self._connection,
            subject.format(execution_id=execution_id),
            payload,
            self._message_id(),
            Deadline(self._timeout),
        )

    def _message_id(self) -> str:
        return f"{self._name}-{next(self._numbers)}"


def _sequence(last: LastStored) -> int:
    try:
        return int(json.loads(last.payload)["sequence"])
    except (ValueError, KeyError, TypeError) as exc:
        raise BridgeError(f"the last stored event has no sequence number: {last.payload[:200]!r}") from exc
