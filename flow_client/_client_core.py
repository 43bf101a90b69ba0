"""What the client's methods are made of: a call within an organisation and a workspace, and checked values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

from flow_client.errors import ConfigurationError, InvalidRequestError, PlatformClientError

if TYPE_CHECKING:
    from uuid import UUID

    from flow_client._operation import Operation
    from flow_client._transport import Reply, Transport
    from flow_client.config import Settings

    Identifier = UUID | str
    JsonObject = dict[str, Any]

AnswerT = TypeVar("AnswerT")


class ClientCore:
    """Calls operations with the organisation and workspace of the settings."""

    settings: Settings

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self.settings = settings
        self._transport = transport

    def _call(
        self,
        operation: Operation[AnswerT],
        ids: dict[str, Identifier],
        fields: JsonObject | None = None,
        **options: Any,
    ) -> Reply[AnswerT]:
        try:
            return self._transport.call(operation, self._path_values(operation, ids), fields, **options)
        except PlatformClientError as error:
            if "execution_id" in ids:
                error.add_context(execution_id=str(ids["execution_id"]))
            raise

    def _path_values(self, operation: Operation[Any], ids: dict[str, Identifier]) -> dict[str, object]:
        values: dict[str, object] = {
            "org_id": self.settings.org_id,
            "workspace_id": self.settings.workspace_id,
            **ids,
        }
        for parameter in operation.path_parameters:
            if values[parameter.name] is None:
                raise ConfigurationError(
                    f"{operation.operation_id} needs {parameter.name}: "
                    f"pass {parameter.name}=… to the client or set {parameter.name.upper()}"
                )
        return values


def submission(
    name: str,
    value: JsonObject,
    config: JsonObject | None,
    lifecycle_event: str,
    ring_id: str | None,
    timeout_seconds: float,
) -> JsonObject:
    """Return the body of a submission, whose input goes by `name`."""
    return {
        name: value,
        "config": {} if config is None else config,
        "lifecycle_event": lifecycle_event,
        "ring_id": None if ring_id is None else str(ring_id),
        "timeout_seconds": timeout_seconds,
    }


def caller(deployment_id: Identifier | None) -> JsonObject:
    """Return the field that names the calling deployment."""
    return {"caller_deployment_id": None if deployment_id is None else str(deployment_id)}


def seconds(value: float, name: str, *, zero: bool = False) -> float:
    """Return `value`; raise `InvalidRequestError` unless it is a finite number above 0, or 0 where that makes sense."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if usable and (value > 0 or (zero and value == 0)):
        return value
    raise InvalidRequestError(f"{name} is {value!r}; it must be a number of seconds {'from' if zero else 'above'} 0")
