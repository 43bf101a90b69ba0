"""The base classes of the generated models."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

from flow_client._log import add_note
from flow_client.errors import PlatformExecutionError

if TYPE_CHECKING:
    from typing_extensions import Self

TERMINAL_STATUSES = frozenset({"completed", "failed", "timeout", "dead_letter", "cancelled"})
"""The statuses after which an execution does not change any more (contract section 1), in lower case."""


class FlowModel(BaseModel):
    """Base of all models. A model is built at its first use: most scripts use a few of them."""

    model_config = ConfigDict(defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a JSON object, under the platform's names and with those that only it knows.

        Times are ISO 8601 text. What was free JSON is handed on as it came, not copied.
        """
        # Not `model_dump`: it turns NaN into null and refuses what is nested deeper than some 200 levels.
        fields = {field.alias or name: getattr(self, name) for name, field in type(self).model_fields.items()}
        return {name: _as_json(value) for name, value in {**fields, **(self.model_extra or {})}.items()}


class OwnAnswer(FlowModel):
    """An answer that the platform words as it likes: one that is no JSON object is the field `body`."""

    @model_validator(mode="before")
    @classmethod
    def _from_body(cls, body: Any) -> Any:
        if isinstance(body, dict):
            return body
        return {} if body is None else {"body": body}


class RecordMethods(FlowModel):
    """What an execution's record can be asked."""

    if TYPE_CHECKING:  # the fields are generated, and keep the order of the specification
        execution_id: str
        status: str
        error: Any
        started_at: datetime | None
        finished_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended. A status that is not known is not terminal."""
        return self.status.lower() in TERMINAL_STATUSES

    @property
    def is_completed(self) -> bool:
        """Whether the execution has ended well."""
        return self.status.lower() == "completed"

    @property
    def duration(self) -> float | None:
        """The seconds that the execution ran, from `started_at` to `finished_at`, without the waiting before.

        None while one of them is not known, and where the platform's clocks differ so much that it began after its end.
        """
        started, finished = _in_utc(self.started_at), _in_utc(self.finished_at)
        if started is None or finished is None or finished < started:
            return None
        return (finished - started).total_seconds()

    def raise_for_status(self, *, idempotency_key: str | None = None) -> Self:
        """Return the record if the execution has completed.

        Args:
            idempotency_key: the key of its submission, for the error.

        Raises:
            PlatformExecutionError: it ended otherwise, or has not ended; `record` is this one. The worker's traceback
                is a note of it, shown under the error's own.
        """
        __tracebackhide__ = True
        if self.is_completed:
            return self
        ended = f"ended as {self.status!r}: {_said(self.error)}"
        outcome = ended if self.is_terminal else f"has not ended: {self.status!r}"
        error = PlatformExecutionError(
            f"execution {self.execution_id} {outcome}",
            execution_id=self.execution_id,
            idempotency_key=idempotency_key,
            record=self,
        )
        if trace := _trace(self.error):
            add_note(error, f"the worker's own traceback:\n{trace}")
        raise error

    def _repr_html_(self) -> str:
        from flow_client._html import record_card  # noqa: PLC0415 - only notebooks need it

        return record_card(self)


def _as_json(value: Any) -> Any:
    """Return a field's value as JSON has it: models and times are objects of Python."""
    if isinstance(value, FlowModel):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list) and value and isinstance(value[0], FlowModel):
        return [item.to_dict() for item in value]
    return value


def _in_utc(moment: datetime | None) -> datetime | None:
    """Return a moment with its offset; one that has none is in UTC, and the year 1 stands for no time."""
    if moment is None or moment.year <= 1:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _said(error: Any) -> Any:
    """Return what went wrong without a worker's traceback, which is on the record."""
    if isinstance(error, dict) and {"type", "message"} <= error.keys():
        return f"{error['type']}: {error['message']}"
    return error


def _trace(error: Any) -> str:
    """Return the worker's traceback, without white space at its end; "" without one."""
    trace = error.get("traceback") if isinstance(error, dict) else None
    return trace.rstrip() if isinstance(trace, str) else ""
