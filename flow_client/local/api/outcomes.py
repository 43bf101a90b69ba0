"""Updates records from what workers publish: that an execution is running, and how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nats.js.errors import NotFoundError

from flow_client._api._generated.operations import EXECUTION_OUTPUT_SUBJECT, EXECUTION_STATUS_UPDATE_SUBJECT
from flow_client._core import jsontext
from flow_client._core.timestamps import iso_text
from flow_client.local.api.announcements import announce
from flow_client.local.api.consumer import consume
from flow_client.local.state.streams import OUTPUT_STREAM, STATUS_STREAM, every, execution_id_of
from flow_client.models import ExecutionOutput, ExecutionStatusUpdate

if TYPE_CHECKING:
    from datetime import datetime

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.state.logs import RunnersLogs
    from flow_client.local.state.records import Executions, Record

_logger = logging.getLogger(__name__)


class Outcomes:
    """Consumers of statuses and outputs, shared by all API processes."""

    def __init__(self, js: JetStreamContext, executions: Executions, logs: RunnersLogs) -> None:
        self._js = js
        self._executions = executions
        self._logs = logs

    async def start(self) -> None:
        """Start to consume, at the first message that has not been handled."""
        await consume(self._js, STATUS_STREAM, every(EXECUTION_STATUS_UPDATE_SUBJECT), self._on_status)
        await consume(self._js, OUTPUT_STREAM, every(EXECUTION_OUTPUT_SUBJECT), self._on_output)

    async def _on_status(self, message: Msg) -> None:
        try:
            update = ExecutionStatusUpdate.model_validate(jsontext.decode(message.data))
        except ValueError as error:
            _logger.warning("%s: ignored, since it is not a status update: %s", message.subject, error)
        else:
            if update.status.lower() == "running":
                await self._on_running(message, update.timestamp)
        await message.ack()

    async def _on_running(self, message: Msg, at: datetime) -> None:
        record = await self._executions.change(
            execution_id_of(message),
            lambda record: record.with_status("running", started_at=record.started_at or iso_text(at)),
        )
        if record is not None and record.is_terminal:
            await self._announce_after(message, record)

    async def _announce_after(self, message: Msg, record: Record) -> None:
        """Publish a terminal status again if a late `running` came after it: readers use the last status."""
        sequence = message.metadata.sequence.stream
        last = await self._js.get_msg(STATUS_STREAM, subject=message.subject, direct=True)
        if last.seq == sequence:
            await announce(self._js, record, f"after-{sequence}")

    async def _on_output(self, message: Msg) -> None:
        execution_id = execution_id_of(message)
        started_at = await self._started_at(execution_id)
        status, changes = _outcome(message)
        changes["log"] = await self._log(execution_id)

        def end(record: Record) -> Record:
            return record.ended(status, started_at=record.started_at or started_at, **changes)

        if await self._executions.change(execution_id, end) is None:
            _logger.warning("%s: ignored, since there is no such execution", message.subject)
        await message.ack()

    async def _log(self, execution_id: str) -> str | None:
        record = await self._executions.find(execution_id)
        return None if record is None else await self._logs.tail(record)

    async def _started_at(self, execution_id: str) -> str | None:
        """Return when the execution started, from the status stream: its output may be handled before its status."""
        subject = EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=execution_id)
        try:
            message = await self._js.get_msg(STATUS_STREAM, subject=subject, direct=True)
            update = ExecutionStatusUpdate.model_validate(jsontext.decode(message.data or b""))
        except (NotFoundError, ValueError):
            return None
        return iso_text(update.timestamp) if update.status.lower() == "running" else None


def _outcome(message: Msg) -> tuple[str, dict[str, Any]]:
    """Return the status that an output gives its execution, and the other fields of the record that it changes."""
    try:
        output = ExecutionOutput.model_validate(jsontext.decode(message.data))
    except ValueError as error:
        return "failed", {"error": {"type": "MalformedOutput", "message": str(error)}}
    changes = {"output_sequence": message.metadata.sequence.stream, "finished_at": iso_text(output.timestamp)}
    return "completed" if output.error is None else "failed", changes
