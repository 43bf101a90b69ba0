"""Carry what workers publish into the records: that an execution runs, and how it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nats.js.errors import NotFoundError

from flow_client._api._generated.operations import EXECUTION_OUTPUT_SUBJECT, EXECUTION_STATUS_UPDATE_SUBJECT
from flow_client._core import jsontext
from flow_client.local.api.announcements import announce
from flow_client.local.api.consuming import consume
from flow_client.local.state.changes import execution_id_of
from flow_client.local.state.streams import OUTPUT_STREAM, STATUS_STREAM, every
from flow_client.models import ExecutionOutput, ExecutionStatusUpdate

if TYPE_CHECKING:
    from datetime import datetime

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.state.logs import RunnersLogs
    from flow_client.local.state.records import Executions, Record

_logger = logging.getLogger(__name__)


class Outcomes:
    """Consumers of statuses and outputs that all API processes share."""

    def __init__(self, js: JetStreamContext, executions: Executions, logs: RunnersLogs) -> None:
        self._js = js
        self._executions = executions
        self._logs = logs

    async def start(self) -> None:
        """Begin to consume, from the first message that was never handled."""
        await consume(self._js, STATUS_STREAM, every(EXECUTION_STATUS_UPDATE_SUBJECT), self._on_status)
        await consume(self._js, OUTPUT_STREAM, every(EXECUTION_OUTPUT_SUBJECT), self._on_output)

    async def _on_status(self, message: Msg) -> None:
        try:
            update = ExecutionStatusUpdate.model_validate(jsontext.decode(message.data))
        except ValueError as exc:
            _logger.warning("%s is not a status update: %s", message.subject, exc)
        else:
            if update.status.lower() == "running":
                await self._on_running(message, update.timestamp)
        await message.ack()

    async def _on_running(self, message: Msg, at: datetime) -> None:
        record = await self._executions.change(
            execution_id_of(message),
            lambda record: record.with_status("running", started_at=record.started_at or _text(at)),
        )
        if record is not None and record.is_terminal:
            await self._announce_after(message, record)

    async def _announce_after(self, message: Msg, record: Record) -> None:
        """Publish a terminal status again behind a `running` that came late: readers look at the last status."""
        sequence = message.metadata.sequence.stream
        last = await self._js.get_msg(STATUS_STREAM, subject=message.subject, direct=True)
        if last.seq == sequence:
            await announce(self._js, record, f"after-{sequence}")

    async def _on_output(self, message: Msg) -> None:
        execution_id = execution_id_of(message)
        started_at = await self._started_at(execution_id)
        status, changes = _outcome(message)
        if status == "failed":
            changes["log"] = await self._log(execution_id)

        def end(record: Record) -> Record:
            return record.ended(status, started_at=record.started_at or started_at, **changes)

        if await self._executions.change(execution_id, end) is None:
            _logger.warning("%s: there is no such execution", message.subject)
        await message.ack()

    async def _log(self, execution_id: str) -> str | None:
        record = await self._executions.find(execution_id)
        return None if record is None else await self._logs.tail(record)

    async def _started_at(self, execution_id: str) -> str | None:
        """Return when the execution began to run, from the stream: its output can be handled before its status."""
        subject = EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=execution_id)
        try:
            message = await self._js.get_msg(STATUS_STREAM, subject=subject, direct=True)
            update = ExecutionStatusUpdate.model_validate(jsontext.decode(message.data or b""))
        except (NotFoundError, ValueError):
            return None
        return _text(update.timestamp) if update.status.lower() == "running" else None


def _outcome(message: Msg) -> tuple[str, dict[str, Any]]:
    """Return the status that an output ends its execution with, and what it changes in the record besides."""
    try:
        output = ExecutionOutput.model_validate(jsontext.decode(message.data))
    except ValueError as error:
        return "failed", {"error": {"type": "MalformedOutput", "message": str(error)}}
    changes = {"output_sequence": message.metadata.sequence.stream, "finished_at": _text(output.timestamp)}
    return "completed" if output.error is None else "failed", changes


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
