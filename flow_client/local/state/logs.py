"""What workers print: files of the runner that started them. Their ends go into records that did not complete."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import nats.errors

from flow_client.local.manifest import ID_PATTERN
from flow_client.local.processes.guarded import tail
from flow_client.local.state.changes import execution_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from flow_client.local.state.records import Record

TAIL_BYTES = 8192
ANSWER_TIMEOUT = 2.0
_SUBJECT = "flow.local.log.{execution_id}"


class LogFolder:
    """The folder of a runner with a file for each execution, to which all of its workers have printed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, execution_id: str) -> Path:
        """Return the file of an execution, which may not exist."""
        return self._folder / f"{execution_id}.log"

    def tail(self, execution_id: str) -> str:
        """Return the end of what an execution's workers have printed so far."""
        file = self.file(execution_id)
        return tail(file, TAIL_BYTES) if file.exists() else ""

    async def serve(self, connection: Client) -> None:
        """Answer those who ask for an execution whose file is here. The other runners keep silent."""

        async def answer(message: Msg) -> None:
            execution_id = execution_id_of(message)
            # Anybody on NATS may ask, and an absolute path would lead out of the folder.
            if re.fullmatch(ID_PATTERN, execution_id) and self.file(execution_id).exists():
                await message.respond(self.tail(execution_id).encode())

        await connection.subscribe(_SUBJECT.format(execution_id="*"), cb=answer)


class RunnersLogs:
    """The logs of all runners, wherever these are."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection

    async def tail(self, record: Record) -> str:
        """Return the end of what an execution's workers have printed; "" if there were none or their runner is gone."""
        if record.deliveries == 0:
            return ""
        subject = _SUBJECT.format(execution_id=record.execution_id)
        try:
            message = await self._connection.request(subject, timeout=ANSWER_TIMEOUT)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return ""
        return message.data.decode()
