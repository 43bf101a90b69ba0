"""The logs of workers: files of the runner that started them. The API asks for a log's end over NATS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nats.errors

from flow_client.local.identifiers import is_id
from flow_client.local.processes.guarded import tail
from flow_client.local.state.streams import execution_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from flow_client.local.state.records import Record

TAIL_BYTES = 8192
"""How much of a log goes into the record of an execution that has ended."""
ANSWER_TIMEOUT = 2.0
"""Seconds that the runner has to answer."""
_SUBJECT = "flow.local.log.{execution_id}"


class LogFolder:
    """A runner's folder with one file for each execution, shared by all workers of that execution."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, execution_id: str) -> Path:
        """Return the path of an execution's log; the file may not exist."""
        return self._folder / f"{execution_id}.log"

    def create(self, execution_id: str) -> None:
        """Create an execution's log unless it exists: from then on this runner answers for it."""
        self.file(execution_id).touch()

    def tail(self, execution_id: str) -> str:
        """Return the end of an execution's log, "" if there is none."""
        file = self.file(execution_id)
        return tail(file, TAIL_BYTES) if file.exists() else ""

    async def serve(self, connection: Client) -> None:
        """Answer requests for the logs that are in this folder; for others this runner stays silent."""

        async def answer(message: Msg) -> None:
            execution_id = execution_id_of(message)
            # Anyone on NATS may ask, and a path instead of an id could lead out of the folder.
            if is_id(execution_id) and self.file(execution_id).exists():
                await message.respond(self.tail(execution_id).encode())

        await connection.subscribe(_SUBJECT.format(execution_id="*"), cb=answer)


class RunnersLogs:
    """The logs of all runners, wherever they are."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection

    async def tail(self, record: Record) -> str:
        """Return the end of an execution's log; "" if no worker was started or its runner is gone."""
        if record.deliveries == 0:
            return ""
        subject = _SUBJECT.format(execution_id=record.execution_id)
        try:
            message = await self._connection.request(subject, timeout=ANSWER_TIMEOUT)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return ""
        return message.data.decode()
