"""What an HTTP operation is. The operations themselves are generated from `openapi.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar
from uuid import UUID

from flow_client._core.checks import shown
from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from flow_client._api.base import FlowModel
    from flow_client._api.model import Model

AnswerT = TypeVar("AnswerT")

Retry = Literal["safe", "keyed", "none"]


@dataclass(frozen=True)
class PathParameter:
    """A hole in a path template and the pattern that its value matches whole."""

    name: str
    pattern: str

    def check(self, value: object) -> str:
        """Return `value` as a path segment; raise `InvalidRequestError` if it is not valid."""
        text = str(value) if isinstance(value, (str, UUID)) else ""
        if self._compiled.fullmatch(text):
            return text
        raise InvalidRequestError(
            f"{self.name} is {shown(value)}; it must be a UUID or a string that matches {self.pattern}"
        )

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)


@dataclass(frozen=True)
class Operation(Generic[AnswerT]):
    """One HTTP operation.

    `request` is the model of the body, None if there is no body. `answer` is the type of the answer: a generated model,
    `dict` for a free-form object, `object` for any JSON. `retry` says why the operation may be sent again: `safe`
    changes nothing, `keyed` carries an idempotency key. With `none` nothing says so, and it is sent once.
    """

    operation_id: str
    method: str
    path: str
    path_parameters: tuple[PathParameter, ...]
    success: int
    request: Model[FlowModel] | None
    answer: Model[AnswerT] | type[AnswerT]
    retry: Retry

    def url_path(self, values: dict[str, object]) -> str:
        """Return the path for `values`, each of them checked first."""
        return self.path.format_map({p.name: p.check(values[p.name]) for p in self.path_parameters})

    def check(self, name: str, value: object) -> str:
        """Return `value` as the path segment `name`; raise `InvalidRequestError` if it is not valid."""
        return next(p for p in self.path_parameters if p.name == name).check(value)
