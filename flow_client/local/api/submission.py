"""Accepts executions, at most one for each idempotency key."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nats.js.errors import KeyWrongLastSequenceError

from flow_client._api._generated.operations import EXECUTION_INPUT_SUBJECT
from flow_client._nats.jetstream import HEADER_ALLOWANCE
from flow_client.local.state import dispatch
from flow_client.local.state.records import Record, now

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

    from flow_client.local.state.records import Executions

_BUCKET = "IDEMPOTENCY"
_KEY_LIFETIME = 24 * 3600.0
"""Seconds for which an idempotency key is remembered."""


class KeyReusedError(ValueError):
    """An idempotency key was used again for a different request."""


class InputTooLargeError(ValueError):
    """An input does not fit into a NATS message."""


class InputNotJsonError(ValueError):
    """An input contains a number that JSON cannot express."""


@dataclass(frozen=True)
class Submission:
    """A request to run a component. `path` and `body` are those of the HTTP request.

    `level` is how deep the execution is nested; see `flow_client.local.state.dispatch`.
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
        """Return the first record of the execution."""
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
        """Return the message that brings the worker its input.

        Raises:
            InputNotJsonError: it contains NaN or an infinity.
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
        except ValueError as error:
            raise InputNotJsonError(f"The input is not valid JSON: {error}") from error

    def claim_key(self) -> str:
        """Return the name under which the idempotency key is stored. Each workspace and path has its own keys."""
        parts = (self.org_id, self.workspace_id, self.path, self.idempotency_key)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def fingerprint(self) -> str:
        """Return a hash of the request's body."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """The execution of a submission. `is_replay` says that an earlier request with the same key had created it."""

    record: Record
    is_replay: bool


class Submissions:
    """Turns submissions into executions.

    The first write fixes the execution's id, and every later step can safely be repeated. So a client that repeats a
    request completes what a killed API process left half done, and starts nothing twice.
    """

    def __init__(self, connection: Client, js: JetStreamContext, executions: Executions, claims: KeyValue) -> None:
        self._connection = connection
        self._js = js
        self._executions = executions
        self._claims = claims

    @classmethod
    async def open(cls, connection: Client, js: JetStreamContext, executions: Executions) -> Submissions:
        """Return the submissions; create their bucket and work queue if they do not exist."""
        await dispatch.ensure_dispatch(js)
        claims = await js.create_key_value(bucket=_BUCKET, ttl=_KEY_LIFETIME, direct=True)
        return cls(connection, js, executions, claims)

    async def submit(self, submission: Submission) -> Accepted:
        """Start the execution, or continue with the one that has the same idempotency key.

        Raises:
            InputNotJsonError: the input is not valid JSON.
            InputTooLargeError: the input does not fit into a NATS message.
            KeyReusedError: the key was used with a different body before.
        """
        message = submission.input_message()
        if len(message) > self._connection.max_payload - HEADER_ALLOWANCE:
            raise InputTooLargeError(
                f"The input is too large: it makes a message of {len(message)} bytes, and NATS allows "
                f"{self._connection.max_payload - HEADER_ALLOWANCE}. Pass the name of a file or object instead."
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
            raise KeyReusedError("This Idempotency-Key was used for a request with a different body; use a new key.")
        return claim

    async def _enqueue(self, record: Record, message: bytes) -> Record:
        execution_id = record.execution_id
        await dispatch.publish_once(self._js, EXECUTION_INPUT_SUBJECT.format(execution_id=execution_id), message)
        place = dispatch.subject(record.ring_id, record.level, execution_id)
        await dispatch.publish_once(self._js, place, execution_id.encode())
        queued = await self._executions.change(execution_id, lambda current: current.with_status("queued"))
        return queued or record
