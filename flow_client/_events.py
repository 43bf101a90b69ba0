"""Following an execution's events while it runs, each once and in order."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

from pydantic import ValidationError

from flow_client._deadline import Deadline
from flow_client._generated import operations
from flow_client._generated.models import ExecutionEvent
from flow_client._model import TERMINAL_STATUSES
from flow_client._nats_reader import OUTAGE_TIMEOUT, SubjectReader
from flow_client._nats_store import last_stored
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from flow_client._nats import Connection

QUIET_SECONDS = 1.0
"""Seconds without an event after which the execution's status is looked at."""
LAST_READ_SECONDS = 0.25
STATUS_TIMEOUT = 30.0
LONGEST_READ = 2 * OUTAGE_TIMEOUT + STATUS_TIMEOUT
"""Seconds that one `read` may take when NATS is down."""
LAST_EVENT_TYPES = frozenset({"done", "error"})


class EventReader:
    """Reads the events of one execution from a sequence number on.

    Attributes:
        over: whether the last event has been read.
    """

    def __init__(self, connection: Connection, execution_id: str, from_sequence: int) -> None:
        self._connection = connection
        self._execution_id = execution_id
        self._wanted = from_sequence
        self._backlog: deque[bytes] = deque()
        self._reader = SubjectReader(connection, operations.EXECUTION_EVENT_SUBJECT.format(execution_id=execution_id))
        self.over = False

    async def read(self) -> list[ExecutionEvent]:
        """Return the events that come next; none when a while passed without any, or when it is over.

        Raises:
            BridgeError: NATS refused, or an event is malformed or missing. Those before it were returned first.
        """
        if not self._backlog:
            self._backlog.extend(await self._payloads())
        events: list[ExecutionEvent] = []
        try:
            while self._backlog:
                events += self._wanted_of(_parse(self._backlog[0]))
                self._backlog.popleft()
        except BridgeError:
            if not events:
                raise
        return events

    async def close(self) -> None:
        """End the reading."""
        await self._reader.close()

    async def _payloads(self) -> list[bytes]:
        payloads = await self._reader.read(QUIET_SECONDS)
        if not payloads and await self._has_ended():
            # What was stored before the status is delivered by now, or at once.
            payloads = await self._reader.read(LAST_READ_SECONDS)
            self.over = not payloads
        return payloads

    def _wanted_of(self, event: ExecutionEvent) -> list[ExecutionEvent]:
        """Return the event unless it was seen before or stands behind the last one."""
        if self.over or event.sequence < self._wanted:
            return []
        if event.sequence > self._wanted:
            raise BridgeError(
                f"execution {self._execution_id}: event {self._wanted} is not stored, the next one is "
                f"{event.sequence}; pass from_sequence={event.sequence} to go on there",
                execution_id=self._execution_id,
            )
        self._wanted += 1
        self.over = event.event_type in LAST_EVENT_TYPES
        return [event]

    async def _has_ended(self) -> bool:
        subject = operations.EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=self._execution_id)
        last = await last_stored(self._connection, subject, Deadline(STATUS_TIMEOUT))
        if last is None:
            return False
        try:
            return str(json.loads(last.payload)["status"]).lower() in TERMINAL_STATUSES
        except (ValueError, KeyError, TypeError) as exc:
            raise BridgeError(f"the last status of {self._execution_id} is malformed: {last.payload[:200]!r}") from exc


def _parse(payload: bytes) -> ExecutionEvent:
    try:
        return ExecutionEvent.model_validate_json(payload)
    except ValidationError as exc:
        raise BridgeError(f"an event is malformed: {exc}") from exc
