"""What the API does with executions. JetStream is its only store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._core import jsontext
from flow_client.local.api.announcements import Announcements
from flow_client.local.api.outcomes import Outcomes
from flow_client.local.api.submission import Accepted, Submission, Submissions
from flow_client.local.state.changes import Changes
from flow_client.local.state.logs import RunnersLogs
from flow_client.local.state.records import Executions, Record, moment
from flow_client.local.state.streams import OUTPUT_STREAM, ensure_streams

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from flow_client.local.state.catalogue import Filter, Page

STORE_TIMEOUT = 2.0
"""Seconds for each request to JetStream. During an outage clients get a 503 and try again, rather than hang."""
_OUTPUT_FIELDS = ("output", "error", "usage", "messages", "state")


class Engine:
    """Submits, reads, awaits and cancels executions. Use `Engine.start()`."""

    def __init__(
        self, js: JetStreamContext, executions: Executions, submissions: Submissions, logs: RunnersLogs
    ) -> None:
        self._js = js
        self._executions = executions
        self._submissions = submissions
        self._logs = logs
        self._changes = Changes(executions)

    @classmethod
    async def start(cls, connection: Client) -> Engine:
        """Return an engine that uses the server at `connection`; missing streams and buckets are created."""
        js = connection.jetstream(timeout=STORE_TIMEOUT)
        await ensure_streams(js)
        executions = await Executions.open(js)
        logs = RunnersLogs(connection)
        engine = cls(js, executions, await Submissions.open(connection, js, executions), logs)
        await Outcomes(js, executions, logs).start()
        await Announcements(js).start()
        await engine._changes.start(js)
        return engine

    async def submit(self, submission: Submission) -> Accepted:
        """Start an execution: see `Submissions.submit`."""
        return await self._submissions.submit(submission)

    async def find(self, execution_id: str) -> Record | None:
        """Return an execution's record, None if there is none."""
        return await self._executions.find(execution_id)

    async def wait_for_change(self, record: Record, seconds: float) -> Record:
        """Return the record once its status differs from that in `record`, or as it is after `seconds`."""
        known = record.status
        changed = await self._changes.wait(record.execution_id, lambda current: current.status != known, seconds)
        return changed or record

    async def wait_for_end(self, record: Record, seconds: float) -> Record:
        """Return the record once it is terminal, or as it is after `seconds`."""
        return await self._changes.wait(record.execution_id, lambda current: current.is_terminal, seconds) or record

    async def cancel(self, record: Record) -> Record:
        """Mark an execution as cancelled unless it has ended; its runner then stops the worker."""
        error: dict[str, object] = {"type": "ExecutionCancelled", "message": "The execution was cancelled."}
        log = "" if record.is_terminal else await self._logs.tail(record)
        cancelled = await self._executions.change(
            record.execution_id, lambda current: current.ended("cancelled", error=error, log=log)
        )
        return cancelled or record

    def list(self, org_id: str, workspace_id: str, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """Return a page of the list of executions: see `Catalogue.page`."""
        return self._changes.catalogue.page(org_id, workspace_id, wanted, limit, cursor)

    async def logs(self, record: Record) -> str:
        """Return the end of what an execution has printed; "" if its runner is gone."""
        return await self._logs.tail(record) if record.log is None else record.log

    async def describe(self, record: Record) -> dict[str, Any]:
        """Return the API's answer for a record, with its output."""
        result = dict.fromkeys(_OUTPUT_FIELDS) | {"error": record.error}
        if record.output_sequence is not None:
            message = await self._js.get_msg(OUTPUT_STREAM, seq=record.output_sequence, direct=True)
            stored = jsontext.decode(message.data or b"{}")
            result = {name: stored.get(name) for name in _OUTPUT_FIELDS}
        # A worker may report any JSON value as its error; the log can only be added to an object.
        if record.log is not None and record.status != "completed" and isinstance(result["error"], dict):
            result["error"] = {**result["error"], "log": record.log}
        return {
            "execution_id": record.execution_id,
            "status": record.status,
            **result,
            "metrics": _metrics(record),
            "created_at": record.created_at,
            "started_at": record.started_at,
            "finished_at": record.finished_at,
            "component": {"kind": record.kind, "id": record.component_id},
            "logs": record.log,
        }


def _metrics(record: Record) -> dict[str, Any]:
    metrics: dict[str, Any] = {"deliveries": record.deliveries}
    if record.started_at and record.finished_at:
        metrics["duration_seconds"] = (moment(record.finished_at) - moment(record.started_at)).total_seconds()
    return metrics
