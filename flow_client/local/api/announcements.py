"""Publish how executions ended, for those who follow their events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nats.js.api import Header

from flow_client._api._generated.operations import EXECUTION_STATUS_UPDATE_SUBJECT
from flow_client.local.api.consuming import consume
from flow_client.local.state.records import BUCKET_STREAM, CHANGES_SUBJECT, Record, now

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext


class Announcements:
    """A consumer of the records' changes that all API processes share.

    The bucket of records is a stream: a terminal record is delivered until its status is published, whatever ends the
    process that changed the record, or one that is about to publish. The stream drops a repeated publication.
    """

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def start(self) -> None:
        """Begin to consume, from the first change that was never handled."""
        await consume(self._js, BUCKET_STREAM, CHANGES_SUBJECT, self._on_change)

    async def _on_change(self, message: Msg) -> None:
        record = Record.from_bytes(message.data)
        if record.is_terminal:
            await announce(self._js, record, "end")
        await message.ack()


async def announce(js: JetStreamContext, record: Record, occasion: str) -> None:
    """Publish a record's status, once for each `occasion`."""
    await js.publish(
        EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=record.execution_id),
        json.dumps({"execution_id": record.execution_id, "status": record.status, "timestamp": now()}).encode(),
        headers={Header.MSG_ID: f"{record.execution_id}-{occasion}"},
    )
