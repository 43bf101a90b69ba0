"""Wait until an execution's record changes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from nats.js.api import DeliverPolicy

from flow_client.local.state import records
from flow_client.local.state.catalogue import Catalogue
from flow_client.local.state.streams import execution_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.state.records import Executions, Record

_POLL_SECONDS = 5.0
"""A watch that is set up again after an outage can miss a change, so a waiter also reads the record this often."""


class Changes:
    """Lets callers wait for a record to change, and lists all records. One watch on the bucket serves both.

    Attributes:
        catalogue: the list.
    """

    def __init__(self, executions: Executions) -> None:
        self.catalogue: Catalogue = Catalogue()
        self._executions = executions
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def start(self, js: JetStreamContext) -> None:
        """Start the watch. The records that are there already come first."""
        await watch(js, self._on_change, DeliverPolicy.LAST_PER_SUBJECT)

    async def wait(self, execution_id: str, is_over: Callable[[Record], bool], seconds: float) -> Record | None:
        """Return the record once `is_over(record)` is true, or as it is after `seconds`; None if there is no record."""
        deadline = time.monotonic() + seconds
        event = asyncio.Event()
        self._waiting[execution_id].add(event)
        try:
            while True:
                event.clear()
                record = await self._executions.find(execution_id)
                left = deadline - time.monotonic()
                if record is None or is_over(record) or left <= 0:
                    return record
                await _wait_for(event, min(left, _POLL_SECONDS))
        finally:
            self._forget(execution_id, event)

    async def _on_change(self, message: Msg) -> None:
        if message.data:
            self.catalogue.take(message.data)
        for event in self._waiting.get(execution_id_of(message), ()):
            event.set()

    def _forget(self, execution_id: str, event: asyncio.Event) -> None:
        self._waiting[execution_id].discard(event)
        if not self._waiting[execution_id]:
            del self._waiting[execution_id]


async def watch(
    js: JetStreamContext, callback: Callable[[Msg], object], begin: DeliverPolicy = DeliverPolicy.NEW
) -> None:
    """Call the coroutine function `callback` with every change to any record, from now on unless `begin` says so."""
    await js.subscribe(
        records.CHANGES_SUBJECT,
        stream=records.BUCKET_STREAM,
        cb=callback,  # type: ignore[arg-type]
        ordered_consumer=True,
        deliver_policy=begin,
    )


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
