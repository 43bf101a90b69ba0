"""A handle on one execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flow_client.errors import PlatformExecutionError

if TYPE_CHECKING:
    from flow_client.models import ExecutionAccepted, ExecutionRecord


class ExecutionClient(Protocol):
    """What a handle needs of a client."""

    def get_execution_status(self, execution_id: str) -> ExecutionRecord:
        """Return the execution's record as it is now."""

    def await_execution_result(self, execution_id: str, *, timeout_seconds: float) -> ExecutionRecord:
        """Wait for the end of the execution and return its terminal record."""

    def cancel_execution(self, execution_id: str) -> Any:
        """Ask for the execution's cancellation."""


class ExecutionHandle:
    """One execution, to be asked about and waited for.

    `client.submit_*` returns one; `client.execution(execution_id)` makes one without a request.

    Attributes:
        execution_id: the execution's id.
        accepted: the platform's answer to the submission; None on a handle that was not made by one.
        idempotency_key: the key under which it was submitted: submitting again with it starts no second execution.
    """

    def __init__(
        self,
        client: ExecutionClient,
        execution_id: str,
        accepted: ExecutionAccepted | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self._client = client
        self.execution_id = execution_id
        self.accepted = accepted
        self.idempotency_key = idempotency_key

    def status(self) -> ExecutionRecord:
        """Return the execution's record as it is now, as `PlatformClient.get_execution_status` does."""
        return self._client.get_execution_status(self.execution_id)

    def wait(self, timeout: float = 300.0) -> ExecutionRecord:
        """Wait up to `timeout` seconds for the end and return the terminal record, whatever its status.

        `timeout` bounds the wait, not the execution: it goes on.

        Raises:
            ExecutionWaitTimeout: the time ran out.
            PlatformClientError: as for `PlatformClient.await_execution_result`.
        """
        return self._client.await_execution_result(self.execution_id, timeout_seconds=timeout)

    def result(self, timeout: float = 300.0) -> Any:
        """Wait up to `timeout` seconds for the end and return the output.

        Raises:
            PlatformExecutionError: it ended otherwise than `completed`; `record` says how.
            ExecutionWaitTimeout: the time ran out.
            PlatformClientError: as for `PlatformClient.await_execution_result`.
        """
        record = self.wait(timeout)
        if record.is_completed:
            return record.output
        raise PlatformExecutionError(
            f"execution {self.execution_id} ended as {record.status!r}: {record.error}",
            execution_id=self.execution_id,
            idempotency_key=self.idempotency_key,
            record=record,
        )

    def cancel(self) -> Any:
        """Ask for cancellation, best effort; return the platform's answer as `PlatformClient.cancel_execution` does."""
        return self._client.cancel_execution(self.execution_id)

    def __repr__(self) -> str:
        return f"ExecutionHandle({self.execution_id!r})"
