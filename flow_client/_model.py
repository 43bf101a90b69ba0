"""The base classes of the generated models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from flow_client.errors import PlatformExecutionError

if TYPE_CHECKING:
    from typing_extensions import Self

TERMINAL_STATUSES = frozenset({"completed", "failed", "timeout", "dead_letter", "cancelled"})
"""The statuses after which an execution does not change any more (contract section 1), in lower case."""


class FlowModel(BaseModel):
    """Base of all models. A model is built at its first use: most scripts use a few of them."""

    model_config = ConfigDict(defer_build=True)


class RecordMethods(FlowModel):
    """What an execution's record can be asked."""

    execution_id: str
    status: str
    error: Any = None

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended. A status that is not known is not terminal."""
        return self.status.lower() in TERMINAL_STATUSES

    @property
    def is_completed(self) -> bool:
        """Whether the execution has ended well."""
        return self.status.lower() == "completed"

    def raise_for_status(self, *, idempotency_key: str | None = None) -> Self:
        """Return the record if the execution has completed.

        Args:
            idempotency_key: the key of its submission, for the error.

        Raises:
            PlatformExecutionError: it ended otherwise, or has not ended; `record` is this one.
        """
        if self.is_completed:
            return self
        ended = f"ended as {self.status!r}: {_said(self.error)}"
        outcome = ended if self.is_terminal else f"has not ended: {self.status!r}"
        raise PlatformExecutionError(
            f"execution {self.execution_id} {outcome}",
            execution_id=self.execution_id,
            idempotency_key=idempotency_key,
            record=self,
        )

    def _repr_html_(self) -> str:
        from flow_client._html import record_card  # noqa: PLC0415 - only notebooks need it

        return record_card(self)


def _said(error: Any) -> Any:
    """Return what went wrong without a worker's traceback, which is on the record."""
    if isinstance(error, dict) and {"type", "message"} <= error.keys():
        return f"{error['type']}: {error['message']}"
    return error
