"""The payloads that an execution's worker publishes; openapi.yaml has their schemas (`x-nats-subject`)."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from flow_client._api._generated import operations
from flow_client._api.base import TERMINAL_STATUSES
from flow_client._core import jsontext
from flow_client.errors import InvalidRequestError

_EXECUTION_ID = next(p for p in operations.GET_EXECUTION_STATUS.path_parameters if p.name == "execution_id")


class EventDraft(NamedTuple):
    """An event that has no number yet: what stands before and after it."""

    before: bytes
    after: bytes

    def numbered(self, sequence: int) -> bytes:
        """Return the payload of the event as number `sequence` of its execution."""
        return b"%s%d%s" % (self.before, sequence, self.after)


def subject_token(execution_id: object) -> str:
    """Return the id as a token of a NATS subject; raise `InvalidRequestError` if it is not valid.

    An id of `*` or `>` would match the messages of other executions.
    """
    if isinstance(execution_id, (str, UUID)):
        return _EXECUTION_ID.check(execution_id)
    raise InvalidRequestError(f"execution_id is {execution_id!r}; it must be a UUID or a string")


def output(
    execution_id: str,
    deployment_id: object,
    output: Any,
    usage: Any = None,
    messages: Any = None,
    state: Any = None,
    error: Any = None,
) -> bytes:
    """Return the payload of an output."""
    payload = {
        "execution_id": execution_id,
        "deployment_id": check_deployment(deployment_id),
        "output": output,
        "usage": usage,
        "messages": messages,
        "state": state,
        "error": error,
        "timestamp": _now(),
    }
    return jsontext.encode(payload)


def event(execution_id: str, event_type: object, event_data: Any) -> EventDraft:
    """Return an event that has no number yet; its type must be a non-empty string."""
    before = b'{"execution_id":"%s","sequence":' % execution_id.encode()  # a token: nothing in it is escaped
    content = {"event_type": _name(event_type, "event_type"), "event_data": event_data, "timestamp": _now()}
    return EventDraft(before, b"," + jsontext.encode(content)[1:])


def status(execution_id: str, name: object) -> bytes:
    """Return the payload of a status; `name` must be a non-empty string."""
    return jsontext.encode({"execution_id": execution_id, "status": _name(name, "status"), "timestamp": _now()})


def is_terminal_status(payload: bytes) -> bool:
    """Return whether the payload of a status says that the execution has ended.

    Raises:
        ValueError, KeyError, TypeError: the payload is malformed.
    """
    return str(jsontext.decode(payload)["status"]).lower() in TERMINAL_STATUSES


def check_deployment(deployment_id: object) -> str | None:
    """Return the deployment's id as a string or None; raise `InvalidRequestError` if it is not valid."""
    if deployment_id is None:
        return None
    if isinstance(deployment_id, (str, UUID)):
        return str(deployment_id)
    raise InvalidRequestError(f"deployment_id is {deployment_id!r}; it must be a UUID, a string or None")


def _name(value: object, argument: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise InvalidRequestError(f"{argument} is {value!r}; it must be a non-empty string")


def _now() -> str:
    """Return the time in ISO 8601; events are many, so only the microseconds are written each time."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_whole_second(seconds)}.{microseconds:06d}+00:00"


@lru_cache(maxsize=1)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().removesuffix("+00:00")
