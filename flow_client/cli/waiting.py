"""Waits for the ends of executions."""

from __future__ import annotations

from concurrent.futures import as_completed
from typing import TYPE_CHECKING

from flow_client.errors import ExecutionWaitTimeout, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flow_client.client import PlatformClient
    from flow_client.models import ExecutionRecord

NOT_FOUND_GRACE = 5.0
"""Seconds for which an execution that was just submitted may not be visible."""


def outcomes(
    client: PlatformClient, execution_ids: Sequence[str], timeout: float | None
) -> Iterator[tuple[str, ExecutionRecord | PlatformClientError]]:
    """Yield each execution's id with its terminal record, or with the error of the wait, as they end.

    Args:
        client: the client to ask.
        execution_ids: the executions.
        timeout: seconds to wait; None for no limit, 0 for one look at each.

    Raises:
        InvalidRequestError: an id is not valid.
    """
    handles = {handle.execution_id: handle for handle in map(client.execution, execution_ids)}
    if len(handles) == 1 or timeout == 0:
        for execution_id in handles:
            yield execution_id, _outcome(client, execution_id, timeout)
        return
    futures = {handle.future(timeout): execution_id for execution_id, handle in handles.items()}
    for future in as_completed(futures):
        error = future.exception()
        if error is not None and not isinstance(error, PlatformClientError):
            raise error
        yield futures[future], error or future.result()


def ended(client: PlatformClient, execution_id: str, timeout: float | None) -> ExecutionRecord:
    """Return an execution's terminal record.

    Raises:
        ExecutionWaitTimeout: it has not ended in time.
        PlatformClientError: the wait failed.
    """
    if timeout != 0:
        return client.await_execution_result(
            execution_id, timeout_seconds=timeout, not_found_retry_seconds=NOT_FOUND_GRACE
        )
    record = client.get_execution_status(execution_id)
    if record.is_terminal:
        return record
    raise ExecutionWaitTimeout(
        f"execution {execution_id} has not ended: it is {record.status!r}",
        execution_id=execution_id,
        last_status=record.status,
    )


def _outcome(client: PlatformClient, execution_id: str, timeout: float | None) -> ExecutionRecord | PlatformClientError:
    try:
        return ended(client, execution_id, timeout)
    except PlatformClientError as error:
        return error
