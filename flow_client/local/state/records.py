"""The records of executions, kept in a key-value bucket and changed by compare-and-set."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from flow_client._api.base import TERMINAL_STATUSES
from flow_client._core.timestamps import iso_text, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

BUCKET = "EXECUTIONS"
BUCKET_STREAM = f"KV_{BUCKET}"
CHANGES_SUBJECT = f"$KV.{BUCKET}.*"
_ORDER = ("pending", "queued", "running")


@dataclass(frozen=True)
class Record:
    """What the platform knows about an execution.

    The output itself stays in the output stream, at `output_sequence`. `log` is the end of the workers' log once the
    execution has ended.
    """

    execution_id: str
    org_id: str
    workspace_id: str
    kind: str
    component_id: str
    ring_id: str
    timeout_seconds: float
    lifecycle_event: str
    billing_txn_id: str
    created_at: str
    level: int = 0
    status: str = "pending"
    dispatched_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    deliveries: int = 0
    output_sequence: int | None = None
    error: dict[str, object] | None = None
    log: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended. A terminal record never changes."""
        return self.status in TERMINAL_STATUSES

    def with_status(self, status: str, **changes: object) -> Record:
        """Return the record with `status` and other fields changed. The status never goes back to an earlier one."""
        if status in _ORDER and self.status in _ORDER and _ORDER.index(status) < _ORDER.index(self.status):
            status = self.status
        return dataclasses.replace(self, status=status, **changes)  # type: ignore[arg-type]

    def ended(self, status: str, **changes: object) -> Record:
        """Return the record with the terminal `status`, finished now unless `changes` has `finished_at`."""
        return self.with_status(status, **{"finished_at": now(), **changes})

    def to_bytes(self) -> bytes:
        """Return the record in the form in which it is stored."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """Return the record that was stored as `data`."""
        return cls(**json.loads(data))


def now() -> str:
    """Return the current time in the form that records use."""
    return iso_text(utc_now())


def moment(text: str) -> datetime:
    """Return the time that a record's text stands for."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Executions:
    """The bucket of records."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket

    @classmethod
    async def open(cls, js: JetStreamContext) -> Executions:
        """Return the bucket; create it if it does not exist."""
        return cls(await js.create_key_value(bucket=BUCKET, direct=True))

    async def create(self, record: Record) -> bool:
        """Store a new record. Return False, and change nothing, if the execution already has one."""
        try:
            await self._bucket.create(record.execution_id, record.to_bytes())
        except KeyWrongLastSequenceError:
            return False
        return True

    async def find(self, execution_id: str) -> Record | None:
        """Return an execution's record, None if there is none."""
        record, _ = await self._read(execution_id)
        return record

    async def change(self, execution_id: str, change: Callable[[Record], Record]) -> Record | None:
        """Apply `change` unless the record is terminal, and return what is stored then; None if there is no record.

        `change` is called again if the record was changed by someone else in the meantime.
        """
        while True:
            record, revision = await self._read(execution_id)
            if record is None or record.is_terminal:
                return record
            changed = change(record)
            if changed == record:
                return record
            try:
                await self._bucket.update(execution_id, changed.to_bytes(), last=revision)
            except KeyWrongLastSequenceError:
                continue
            return changed

    async def _read(self, execution_id: str) -> tuple[Record | None, int]:
        try:
            entry = await self._bucket.get(execution_id)
        except KeyNotFoundError:
            return None, 0
        return Record.from_bytes(entry.value or b""), entry.revision or 0
