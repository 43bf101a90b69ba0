"""Accept executions, each at most once per idempotency key."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nats.js.errors import KeyWrongLastSequenceError

from flow_client._api._generated.operations import EXECUTION_INPUT_SUBJECT
from flow_client.local.state import dispatch
from flow_client.local.state.records import Record, now

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

    from flow_client.local.state.records import Executions

_BUCKET = "IDEMPOTENCY"
_KEY_LIFETIME = 24 * 3600.0
_HEADER_ROOM = 512


class KeyReusedError(ValueError):
    """An idempotency key came back with another request."""


class InputTooLargeError(ValueError):
    """An input is larger than NATS takes."""


class InputNotJsonError(ValueError):
    """An input has a number that JSON has no form for."""


@dataclass(frozen=True)
class Submission:
    """A request to run a component. `body` is the request as it came, `path` where it came to.

    `dispatch` says what `level` is.
    """

    org_id: str
    workspace_id: str
    path: str
    kind: str
    component_id: str
    ring_id: str
    timeout_seconds: float
    lifecycle_event: str
    input_data: Any = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    body: dict[str, Any] = field(repr=False)
    level: int = 0
    idempotency_key: str | None = None
    billing_txn_id: str | None = None

    def record(self, execution_id: str) -> Record:
        """Return the record that the execution begins with."""
        return Record(
            execution_id=execution_id,
            org_id=self.org_id,
            workspace_id=self.workspace_id,
            kind=self.kind,
            component_id=self.component_id,
            ring_id=self.ring_id,
            timeout_seconds=self.timeout_seconds,
            lifecycle_event=self.lifecycle_event,
            billing_txn_id=self.billing_txn_id or str(uuid.uuid4()),
            created_at=now(),
            level=self.level,
        )

    def input_message(self) -> bytes:
        """Return the message that the worker takes its input from.

        Raises:
            InputNotJsonError: there is NaN or an infinity in it.
        """
        message = {
            "input_data": self.input_data,
            "session_id": None,
            "messages": [],
            "state": {},
            "config": self.config,
        }
        try:
            return json.dumps(message, allow_nan=False).encode()
        except ValueError as exc:
            raise InputNotJsonError(f"The input is not JSON: {exc}") from exc

    def claim_key(self) -> str:
        """Return the name under which the idempotency key is kept: nobody else's key can collide with it."""
        parts = (self.org_id, self.workspace_id, self.path, self.idempotency_key)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def fingerprint(self) -> str:
        """Return what tells this request's body from another one."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """The execution of a submission, and whether an earlier one with the same idempotency key had started it."""

    record: Record
    is_replay: bool


class Submissions:
    """Turns submissions into executions.

    The execution's id is fixed by the first write; every later step can be repeated without effect. A caller that
    repeats a request therefore completes what a killed API process left half done, and starts nothing twice.
    """

    def __init__(self, connection: Client, js: JetStreamContext, executions: Executions, claims: KeyValue) -> None:
        self._connection = connection
        self._js = js
        self._executions = executions
        self._claims = claims

    @classmethod
    async def open(cls, connection: Client, js: JetStreamContext, executions: Executions) -> Submissions:
        """Return the submissions on their bucket and work queue, which are created if there are none."""
        await dispatch.ensure_dispatch(js)
        claims = await js.create_key_value(bucket=_BUCKET, ttl=_KEY_LIFETIME, direct=True)
        return cls(connection, js, executions, claims)

    async def submit(self, submission: Submission) -> Accepted:
        """Start the execution, or take up the one that the same idempotency key started.

        Raises:
            InputNotJsonError: the input is not JSON.
            InputTooLargeError: the input does not fit into a NATS message.
            KeyReusedError: the key came with another body before.
        """
        message = submission.input_message()
        if len(message) > self._connection.max_payload - _HEADER_ROOM:
            raise InputTooLargeError(
                f"The input has {len(message)} bytes as a message; NATS takes {self._connection.max_payload}."
            )
        record = submission.record(await self._claim(submission))
        is_replay = not await self._executions.create(record)
        if is_replay:
            record = await self._executions.find(record.execution_id) or record
        if record.status == "pending":
            record = await self._enqueue(record, message)
        return Accepted(record, is_replay)

    async def _claim(self, submission: Submission) -> str:
        execution_id = str(uuid.uuid4())
        if submission.idempotency_key is None:
            return execution_id
        key = submission.claim_key()
        claim = {"fingerprint": submission.fingerprint(), "execution_id": execution_id}
        try:
            await self._claims.create(key, json.dumps(claim).encode())
        except KeyWrongLastSequenceError:
            claim = await self._earlier_claim(key, claim["fingerprint"])
        return claim["execution_id"]

    async def _earlier_claim(self, key: str, fingerprint: str) -> dict[str, str]:
        entry = await self._claims.get(key)
        claim: dict[str, str] = json.loads(entry.value or b"")
        if claim["fingerprint"] != fingerprint:
            raise KeyReusedError("This Idempotency-Key was used for a request with another body.")
        return claim

    async def _enqueue(self, record: Record, message: bytes) -> Record:
        execution_id = record.execution_id
        await dispatch.publish_once(self._js, EXECUTION_INPUT_SUBJECT.format(execution_id=execution_id), message)
        place = dispatch.subject(record.ring_id, record.level, execution_id)
        await dispatch.publish_once(self._js, place, execution_id.encode())
        queued = await self._executions.change(execution_id, lambda current: current.with_status("queued"))
        return queued or record
