"""Wait until an execution's record changes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from nats.js.api import DeliverPolicy

from flow_client.local.state import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.state.records import Executions, Record

_LOOK_AGAIN = 5.0


class Changes:
    """Wakes those who wait for an execution, from one watch on the bucket for all of them."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def start(self, js: JetStreamContext) -> None:
        """Begin to watch."""
        await watch(js, self._wake)

    async def wait(self, execution_id: str, is_over: Callable[[Record], bool], seconds: float) -> Record | None:
        """Return the record as soon as `is_over` says so, or as it is after `seconds`; None without a record."""
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
                # A watch that is set up anew after an outage can miss a change: look again now and then.
                await _wait_for(event, min(left, _LOOK_AGAIN))
        finally:
            self._forget(execution_id, event)

    async def _wake(self, message: Msg) -> None:
        for event in self._waiting.get(execution_id_of(message), ()):
            event.set()

    def _forget(self, execution_id: str, event: asyncio.Event) -> None:
        self._waiting[execution_id].discard(event)
        if not self._waiting[execution_id]:
            del self._waiting[execution_id]


async def watch(js: JetStreamContext, callback: Callable[[Msg], object]) -> None:
    """Call the coroutine function `callback` with every change of a record from now on."""
    await js.subscribe(
        records.CHANGES_SUBJECT,
        stream=records.BUCKET_STREAM,
        cb=callback,  # type: ignore[arg-type]
        ordered_consumer=True,
        deliver_policy=DeliverPolicy.NEW,
    )


def execution_id_of(message: Msg) -> str:
    """Return the execution that a message is about: the last token of its subject, everywhere."""
    return message.subject.rpartition(".")[2]


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
