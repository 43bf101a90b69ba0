"""The base classes of the generated models."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from flow_client._api.mapping import AnswerMapping
from flow_client._core.log import add_note
from flow_client._core.timestamps import iso_text
from flow_client.errors import PlatformExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from typing_extensions import Self

TERMINAL_STATUSES = frozenset({"completed", "failed", "timeout", "dead_letter", "cancelled"})
"""The statuses after which an execution no longer changes, in lower case."""


_set = object.__setattr__  # past pydantic, which knows of no such attribute
ModelT = TypeVar("ModelT", bound="FlowModel")


class FlowModel(AnswerMapping, BaseModel):  # type: ignore[misc] # as a mapping it iterates over its keys
    """Base of all models. A model is built at its first use: most scripts use a few of them.

    Its attributes are Python values: `record.created_at` is a datetime. As a mapping it is what came on the wire:
    `record["created_at"]` is text, and a field that did not come is no key. A model that was made or changed here has
    the fields that were set, as JSON.
    """

    # A slot and no private attribute of pydantic's: those take part in comparisons and slow the making down.
    __slots__ = ("_received",)

    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True)

    takes_text: ClassVar[bool] = False
    """Whether an answer that is not JSON is read as text."""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return the model of `obj`, usually a dict, as pydantic does, and keep its fields as they came."""
        model = super().model_validate(obj, **options)
        if isinstance(obj, dict):
            _set(model, "_received", cls._complete(model, obj))
        return model

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a JSON object, under the platform's names and with those that only it knows.

        Times are ISO 8601 text. What was free JSON is handed on as it came, not copied.
        """
        # Not `model_dump`: it turns NaN into null and refuses what is nested deeper than some 200 levels.
        return self._json_fields(type(self).model_fields, FlowModel.to_dict)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with other values for the fields in `update`, as pydantic does."""
        copied = super().model_copy(update=update, deep=deep)
        return _keep(copied, None) if update else copied

    def _complete(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what the mapping shows of the fields that came: a copy of its own, whose values are shared."""
        return dict(fields)

    def as_received(self) -> dict[str, Any]:
        """Return what the mapping shows: the JSON object that came, or that of the fields that were set here."""
        kept = self._kept()
        return self._json_fields(self.model_fields_set, dict) if kept is None else kept

    def _kept(self) -> dict[str, Any] | None:
        """Return the fields that came, None if this model was made or changed here."""
        return getattr(self, "_received", None)

    def _json_fields(self, names: Collection[str], form: Callable[[FlowModel], dict[str, Any]]) -> dict[str, Any]:
        """Return the fields that are in `names`, and those that only the platform knows, as a JSON object.

        `form` makes a JSON object of a model that is the value of one.
        """
        declared = type(self).model_fields
        fields = {field.alias or name: getattr(self, name) for name, field in declared.items() if name in names}
        return {name: _as_json(value, form) for name, value in {**fields, **(self.model_extra or {})}.items()}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, AnswerMapping):
            return self.as_received() == other
        return BaseModel.__eq__(self, other)

    def __hash__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"unhashable type: {name!r}; if it was given to asyncio.gather: calls of PlatformClient block, "
            "client.map runs many at a time (docs/porting.md)"
        )

    if not TYPE_CHECKING:  # or each new attribute would seem to be one

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            _keep(self, None)

        def __delattr__(self, name: str) -> None:
            super().__delattr__(name)
            _keep(self, None)

    def __copy__(self) -> Self:
        return _keep(super().__copy__(), self._kept())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        return _keep(super().__deepcopy__(memo), deepcopy(self._kept(), memo))

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "_received": self._kept()}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _keep(self, state.get("_received"))


class CompleteInput(FlowModel):
    """An input: a field that did not come has its default, in the mapping too."""

    def _complete(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, **{name: value for name, value in self.to_dict().items() if name not in fields}}

    def as_received(self) -> dict[str, Any]:
        """Return the JSON object that came, with the defaults of the fields that did not."""
        kept = self._kept()
        return self.to_dict() if kept is None else kept


class OwnAnswer(FlowModel):
    """An answer that the platform words as it likes: one that is no JSON object is the field `body`."""

    takes_text: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _from_body(cls, body: Any) -> Any:
        if isinstance(body, dict):
            return body
        return {} if body is None else {"body": body}


class RecordMethods(FlowModel):
    """The properties and methods of an execution's record."""

    if TYPE_CHECKING:  # the fields are generated, and keep the order of the specification
        execution_id: str
        status: str
        error: Any
        started_at: datetime | None
        finished_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended. An unknown status is not terminal."""
        return self.status.lower() in TERMINAL_STATUSES

    @property
    def is_completed(self) -> bool:
        """Whether the execution has completed."""
        return self.status.lower() == "completed"

    @property
    def duration(self) -> float | None:
        """How long the execution ran, in seconds from `started_at` to `finished_at`.

        None if one of them is not known, or if the platform's clocks differ so much that the end is before the start.
        """
        started, finished = _in_utc(self.started_at), _in_utc(self.finished_at)
        if started is None or finished is None or finished < started:
            return None
        return (finished - started).total_seconds()

    def raise_for_status(self, *, idempotency_key: str | None = None) -> Self:
        """Return this record if the execution has completed.

        Args:
            idempotency_key: the key of its submission, for the error.

        Raises:
            PlatformExecutionError: it has not completed. The error's `record` is this one, and a note has the worker's
                traceback.
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
        from flow_client._notebook import record_card  # noqa: PLC0415 - only notebooks need it

        return record_card(self)


def _keep(model: ModelT, received: dict[str, Any] | None) -> ModelT:
    _set(model, "_received", received)
    return model


def _as_json(value: Any, form: Callable[[FlowModel], dict[str, Any]]) -> Any:
    """Return a field's value as JSON has it: models and times are objects of Python."""
    if isinstance(value, FlowModel):
        return form(value)
    if isinstance(value, datetime):
        return iso_text(value)
    if isinstance(value, list) and value and isinstance(value[0], FlowModel):
        return [form(item) for item in value]
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
