"""Publish the status of executions that have ended, for everyone who follows their events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nats.js.api import Header

from flow_client._api._generated.operations import EXECUTION_STATUS_UPDATE_SUBJECT
from flow_client.local.api.consumer import consume
from flow_client.local.state.records import BUCKET_STREAM, CHANGES_SUBJECT, Record, now

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext


class Announcements:
    """A consumer of the records' changes, shared by all API processes.

    The bucket of records is a stream. A terminal record is delivered until its status is published, even if the process
    that changed the record dies, or the one that publishes. The status stream drops repetitions.
    """

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def start(self) -> None:
        """Start to consume, at the first change that has not been handled."""
        await consume(self._js, BUCKET_STREAM, CHANGES_SUBJECT, self._on_change)

    async def _on_change(self, message: Msg) -> None:
        record = Record.from_bytes(message.data)
        if record.is_terminal:
            await announce(self._js, record, "end")
        await message.ack()


async def announce(js: JetStreamContext, record: Record, occasion: str) -> None:
    """Publish a record's status, once per `occasion`."""
    await js.publish(
        EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=record.execution_id),
        json.dumps({"execution_id": record.execution_id, "status": record.status, "timestamp": now()}).encode(),
        headers={Header.MSG_ID: f"{record.execution_id}-{occasion}"},
    )
