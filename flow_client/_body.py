"""Request bodies: built from the generated models, written as JSON, refused when JSON cannot say them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._operation import Operation


def encode(operation: Operation[Any], fields: dict[str, Any]) -> bytes | None:
    """Return the JSON body of `operation` with `fields`; None for an operation without a body.

    Raises:
        InvalidRequestError: a field has the wrong type, or JSON has no way to say its value.
    """
    if operation.request is None:
        return None
    model = _build(operation, fields)
    try:
        # Through the fields, not the model: a model writes NaN as null.
        content = to_json(dict(model))
    except (PydanticSerializationError, RecursionError) as error:
        raise InvalidRequestError(f"{operation.operation_id}: the body cannot be written as JSON: {error}") from error
    if b"NaN" in content or b"Infinity" in content:
        _refuse_non_finite(operation, dict(model))
    return content


def describe(error: ValidationError) -> str:
    """Return what is wrong, entry by entry, with the place and without the values."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())


def _build(operation: Operation[Any], fields: dict[str, Any]) -> BaseModel:
    request: type[BaseModel] = operation.request  # type: ignore[assignment]
    try:
        return request.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequestError(f"{operation.operation_id}: {describe(error)}") from error


def _refuse_non_finite(operation: Operation[Any], value: object) -> None:
    for place in _non_finite(value, ""):
        raise InvalidRequestError(f"{operation.operation_id}: {place.lstrip('.')} is not a finite number")


def _non_finite(value: object, place: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from _non_finite(item, f"{place}[{index}]")
