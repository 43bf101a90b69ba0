"""The HTTP requests about one execution: read its record, poll for its end, cancel it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from flow_client._api._generated import operations
from flow_client._core.checks import shown
from flow_client._waiting.polling import Poll
from flow_client.errors import PlatformResponseError

if TYPE_CHECKING:
    from flow_client._api._generated.models import ExecutionCancellation, ExecutionRecord
    from flow_client._core.deadline import Deadline
    from flow_client._http.transport import Reply, Transport


class ExecutionRequests:
    """Sends the requests that handles, waits and futures make about an execution.

    Args:
        transport: sends them.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(self, execution_id: UUID | str) -> ExecutionRecord:
        """Return the execution's current record."""
        return self._read(execution_id).value

    def poll(self, execution_id: str, *, hold: int, timeout: float | Deadline) -> Poll:
        """Read the record once; ask the platform to hold the request for up to `hold` seconds (0: not at all)."""
        headers = {"Prefer": f"wait={hold}"} if hold else {}
        reply = self._read(execution_id, headers=headers, timeout=timeout, max_attempts=1)
        return Poll(reply.value, held="wait" in reply.headers.get("Preference-Applied", "").lower())

    def cancel(self, execution_id: UUID | str, **options: Any) -> ExecutionCancellation:
        """Ask for cancellation and return the platform's answer; `options` are those of `Transport.call`."""
        return self._transport.call(operations.CANCEL_EXECUTION, {"execution_id": execution_id}, **options).value

    def _read(self, execution_id: UUID | str, **options: Any) -> Reply[ExecutionRecord]:
        __tracebackhide__ = True
        reply = self._transport.call(operations.GET_EXECUTION_STATUS, {"execution_id": execution_id}, **options)
        if not _is_same(reply.value.execution_id, str(execution_id)):
            raise PlatformResponseError(
                f"asked for execution {execution_id}, but the platform answered with the record of "
                f"{shown(reply.value.execution_id)}",
                execution_id=str(execution_id),
                request_id=reply.headers.get("X-Request-Id"),
                status_code=operations.GET_EXECUTION_STATUS.success,
            )
        return reply


def _is_same(one: str, other: str) -> bool:
    """Return whether two ids name the same execution: a UUID can be written in several ways."""
    if one == other:
        return True
    try:
        return UUID(one) == UUID(other)
    except ValueError:
        return False
