"""Request bodies: built from the generated models and written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from flow_client._core import jsontext
from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from flow_client._api.base import FlowModel
    from flow_client._api.model import Model
    from flow_client._api.operation import Operation


def encode(operation: Operation[Any], fields: dict[str, Any]) -> bytes | None:
    """Return the JSON body of `operation` with `fields`; None for an operation without a body.

    Raises:
        InvalidRequestError: a field has the wrong type, or a value in it has no JSON form; see `jsontext.encode`.
    """
    if operation.request is None:
        return None
    return jsontext.encode(_given(_build(operation.operation_id, operation.request, fields)))


def describe(error: ValidationError) -> str:
    """Return what is wrong, entry by entry, with the place and without the values."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())


def _build(operation_id: str, request: Model[FlowModel], fields: dict[str, Any]) -> BaseModel:
    try:
        return request.type.model_validate({name: jsontext.unfolded(value, name) for name, value in fields.items()})
    except ValidationError as error:
        raise InvalidRequestError(f"{operation_id}: {describe(error)}") from error


def _given(model: BaseModel) -> dict[str, Any]:
    """Return the fields that were given, by their names on the wire: a platform's own defaults stay its own."""
    given = model.model_fields_set
    return {
        info.serialization_alias or name: getattr(model, name)
        for name, info in type(model).model_fields.items()
        if name in given
    }
