"""Operations that a platform need not offer: the list of executions, and their logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._api._generated import operations
from flow_client.errors import (
    PlatformNotFoundError,
    PlatformResponseError,
    PlatformStatusError,
    PlatformUnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from flow_client._api._generated.models import ExecutionList, ExecutionLogs, ExecutionSummary
    from flow_client._http.transport import Transport

_UNSUPPORTED = frozenset({404, 405, 501})


class OptionalOperations:
    """Calls what a platform may not offer, and says so if it does not.

    Args:
        transport: sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def executions(self, query: Mapping[str, Any]) -> Iterator[ExecutionSummary]:
        """Yield the executions of a list, page by page.

        Raises:
            PlatformUnsupportedError: the platform has no such list.
        """
        cursor: str | None = None
        while True:
            page = self._page({**query, "cursor": cursor})
            yield from page.executions
            if not page.next_cursor:
                return
            if page.next_cursor == cursor:
                raise PlatformResponseError(f"the list of executions repeats the page at the cursor {cursor!r}")
            cursor = page.next_cursor

    def _page(self, query: Mapping[str, Any]) -> ExecutionList:
        try:
            return self._transport.call(operations.LIST_EXECUTIONS, {}, query=query).value
        except PlatformNotFoundError as error:
            hint = "this platform does not list executions, or it does not know the organisation or the workspace"
            raise _unsupported(error, hint) from error
        except PlatformStatusError as error:
            if error.status_code not in _UNSUPPORTED:
                raise
            raise _unsupported(error, "this platform does not list executions") from error

    def logs(self, execution_id: UUID | str) -> ExecutionLogs:
        """Return the end of an execution's log.

        Raises:
            PlatformUnsupportedError: the platform shows no logs.
            PlatformNotFoundError: there is no such execution.
        """
        ids = {"execution_id": execution_id}
        try:
            return self._transport.call(operations.GET_EXECUTION_LOGS, ids).value
        except PlatformStatusError as error:
            if error.status_code not in _UNSUPPORTED:
                raise
            if isinstance(error, PlatformNotFoundError):
                # The record says which of the two is not there: reading it raises if it is the execution.
                self._transport.call(operations.GET_EXECUTION_STATUS, ids)
            raise _unsupported(error, "this platform does not show the logs of executions") from error


def _unsupported(error: PlatformStatusError, what: str) -> PlatformUnsupportedError:
    return PlatformUnsupportedError(
        f"{what} (it answered {error})",
        status_code=error.status_code,
        detail=error.detail,
        request_id=error.request_id,
        execution_id=error.execution_id,
        attempts=error.attempts,
        elapsed=error.elapsed,
    )
