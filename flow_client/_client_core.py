"""What the client's methods are made of: a call within an organisation and a workspace, and the fields of a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flow_client._core.checks import identifier, seconds
from flow_client._core.tracebacks import trim_traceback
from flow_client.errors import ConfigurationError, InvalidRequestError, PlatformClientError

if TYPE_CHECKING:
    from uuid import UUID

    from flow_client._api.operation import Operation
    from flow_client._http.transport import Reply, Transport
    from flow_client.config import Settings

    Identifier = UUID | str
    JsonObject = dict[str, Any]

AnswerT = TypeVar("AnswerT")

DEFAULT_EXECUTION_TIMEOUT = 300
"""Seconds after which the platform ends an execution, unless its submission says otherwise."""


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
        __tracebackhide__ = True
        try:
            return self._transport.call(operation, self._path_values(operation, ids), fields, **options)
        except BaseException as error:
            if isinstance(error, PlatformClientError) and "execution_id" in ids:
                error.add_context(execution_id=str(ids["execution_id"]))
            trim_traceback(error)
            raise

    def _path_values(self, operation: Operation[Any], ids: dict[str, Identifier]) -> dict[str, object]:
        values: dict[str, object] = {
            "org_id": self.settings.org_id,
            "workspace_id": self.settings.workspace_id,
            **ids,
        }
        for parameter in operation.path_parameters:
            # Of what the caller gives with each call, the environment knows nothing.
            if parameter.name not in ids and values[parameter.name] is None:
                raise ConfigurationError(
                    f"{operation.operation_id} needs {parameter.name}: "
                    f"pass {parameter.name}=… to the client or set {parameter.name.upper()}"
                )
        return values

    def _terms(
        self,
        config: JsonObject | None,
        lifecycle_event: str,
        ring_id: Identifier | None,
        timeout_seconds: float | None,
    ) -> JsonObject:
        """Return the fields of a submission beside its input."""
        limit = DEFAULT_EXECUTION_TIMEOUT if timeout_seconds is None else timeout_seconds
        return {
            "config": {} if config is None else config,
            "lifecycle_event": lifecycle_event,
            "ring_id": self._ring(ring_id),
            "timeout_seconds": seconds(limit, "timeout_seconds"),
        }

    def _ring(self, ring_id: Identifier | None) -> str:
        if ring_id is not None:
            return identifier(ring_id, "ring_id", InvalidRequestError)
        if self.settings.ring_id is not None:
            return self.settings.ring_id
        raise ConfigurationError(
            "a submission needs a ring: pass ring_id=… to the call or to the client, or set RING_ID"
        )


def caller(deployment_id: Identifier | None) -> JsonObject:
    """Return the field that names the calling deployment."""
    return {"caller_deployment_id": None if deployment_id is None else str(deployment_id)}
