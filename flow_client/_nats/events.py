"""Following an execution's events while it runs, each once and in order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from flow_client._api._generated import operations
from flow_client._api._generated.models import ExecutionEvent
from flow_client._core import jsontext
from flow_client._core.deadline import Deadline
from flow_client._nats.driver import bounded, read_error
from flow_client._nats.payloads import is_terminal_status
from flow_client._nats.reader import OUTAGE_TIMEOUT, SubjectReader
from flow_client._nats.store import last_stored
from flow_client.errors import BridgeError, BridgeTimeoutError

if TYPE_CHECKING:
    from flow_client._nats.connection import Connection

QUIET_SECONDS = 1.0
"""Seconds without an event after which the execution's status is read."""
LAST_READ_SECONDS = 0.25
STATUS_TIMEOUT = 30.0
LONGEST_READ = 2 * OUTAGE_TIMEOUT + STATUS_TIMEOUT
"""Seconds that one `read` may take while NATS is down."""
REST_TIMEOUT = 5.0
"""Seconds that NATS has to deliver each further event once the end is known."""
OFFLINE_REST_TIMEOUT = 2.0
"""The same while there is no connection."""
LAST_EVENT_TYPES = frozenset({"done", "error"})


class EventReader:
    """Reads the events of one execution from a sequence number on.

    Attributes:
        over: whether the last event has been read.
    """

    last_event_types = LAST_EVENT_TYPES

    def __init__(self, connection: Connection, execution_id: str, from_sequence: int) -> None:
        self._connection = connection
        self._execution_id = execution_id
        self._wanted = from_sequence
        self._backlog: deque[bytes] = deque()
        self._subject = operations.EXECUTION_EVENT_SUBJECT.format(execution_id=execution_id)
        self._reader = SubjectReader(connection, self._subject)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.over: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether reading has begun, so that there is something to close."""
        return self._loop is not None

    async def read(self) -> list[ExecutionEvent]:
        """Return the next events; none if none came for a while, or when the last one has been read.

        Raises:
            BridgeError: NATS refused, or an event is malformed or missing. The events before it are returned first.
        """
        self._loop = asyncio.get_running_loop()
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
        """Stop reading."""
        await self._reader.close()

    def leave(self) -> None:
        """Have the loop stop reading soon.

        A finaliser may call this, in any thread and at any point: it takes no lock, does not wait and raises nothing.
        """
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the connection with it
                self._loop.call_soon_threadsafe(self._connection.in_background, self.close)

    async def _payloads(self) -> list[bytes]:
        payloads = await self._reader.read(QUIET_SECONDS)
        if not payloads and await self._has_ended():
            # Events stored before the status have been delivered by now, or are about to be.
            payloads = await self._reader.read(LAST_READ_SECONDS)
            self.over = not payloads
        return payloads

    def _wanted_of(self, event: ExecutionEvent) -> list[ExecutionEvent]:
        """Return the event unless it was returned before or comes after the last one."""
        if self.over or event.sequence < self._wanted:
            return []
        if event.sequence > self._wanted:
            raise BridgeError(
                f"execution {self._execution_id}: event {self._wanted} is not stored, the next one is "
                f"{event.sequence}; pass from_sequence={event.sequence} to go on there",
                execution_id=self._execution_id,
            )
        self._wanted += 1
        self.over = event.event_type in self.last_event_types
        return [event]

    async def _has_ended(self) -> bool:
        subject = operations.EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=self._execution_id)
        last = await last_stored(self._connection, subject, Deadline(STATUS_TIMEOUT))
        if last is None:
            return False
        try:
            return is_terminal_status(last.payload)
        except (ValueError, KeyError, TypeError) as error:
            raise BridgeError(
                f"the last status of {self._execution_id} is malformed: {last.payload[:200]!r}"
            ) from error


class LiveReader(EventReader):
    """Reads the events of one execution until `end` is called, whatever the events say.

    It may be created in any thread; everything else is done in the loop.
    """

    last_event_types = frozenset()

    def __init__(self, connection: Connection, execution_id: str, from_sequence: int) -> None:
        super().__init__(connection, execution_id, from_sequence)
        self._ended = asyncio.Event()
        self._reading: asyncio.Task[list[bytes]] | None = None
        # The position of what was taken, not of what the read under way has found.
        self._position = 0
        self._until: int | None = None

    def end(self, *, with_rest: bool) -> None:
        """Stop reading: at once, or `with_rest` after the events that are stored by now."""
        self._until = None if with_rest else 0
        self._ended.set()

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.add_done_callback(read_error)
            self._reading.cancel()
        await super().close()

    async def _payloads(self) -> list[bytes]:
        if not self._ended.is_set():
            return await self._next_unless_ended()
        limit = REST_TIMEOUT if self._connection.online else OFFLINE_REST_TIMEOUT
        try:
            return await bounded(self._rest(), limit)
        except asyncio.TimeoutError as error:
            raise BridgeTimeoutError(f"NATS did not deliver the last events within {limit:g} s") from error

    async def _next_unless_ended(self) -> list[bytes]:
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({self._next(), ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        return self._take_finished()

    async def _rest(self) -> list[bytes]:
        if self._until is None:
            last = await last_stored(self._connection, self._subject, Deadline(REST_TIMEOUT))
            self._until = 0 if last is None else last.stream_sequence
        while self._position < self._until:
            await asyncio.wait({self._next()})
            if payloads := self._take_finished():
                return payloads
        self.over = True
        return []

    def _next(self) -> asyncio.Task[list[bytes]]:
        """Return the read that is under way; cancelling it could lose a message."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._reader.read(QUIET_SECONDS))
        return self._reading

    def _take_finished(self) -> list[bytes]:
        reading = self._next()
        if not reading.done():
            return []
        self._reading, self._position = None, self._reader.position
        return reading.result()


def _parse(payload: bytes) -> ExecutionEvent:
    try:
        return ExecutionEvent.model_validate(jsontext.decode(payload))
    except ValueError as error:
        raise BridgeError(f"an event is malformed: {error}") from error
