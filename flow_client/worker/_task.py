"""The argument of a handler."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flow_client._api._generated.models import ExecutionEvent
from flow_client._core import jsontext
from flow_client._nats import payloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from flow_client.client import PlatformClient

_OMITTED: Any = object()  # None is a valid input


class Task:
    """The argument of a handler. A worker makes it from the execution's input; a test can make its own.

    ```python
    task = Task(input_data={"text": "to be or not to be"})
    assert count_words(task) == {"words": 6}
    assert [event.event_type for event in task.events] == ["message"]
    ```

    Args:
        input_data: the input; {} if it is omitted.
        config: the configuration that the execution was submitted with.
        session_id: the conversation's id, None if there is none.
        messages: the conversation so far.
        state: the state to continue from.
        execution_id: the execution.
        deployment_id: the deployment that runs it, None if none does.
        client: the client for nested calls; if None, one with the settings of the environment is made at first use.
        publish: called with the type and data of each event; if None, events are kept in `events`.
        is_cancelled: returns whether the handler should stop.

    Attributes:
        input_data: the input, any JSON value.
        config: the configuration.
        session_id: the conversation's id.
        messages: the conversation so far.
        state: the state to continue from.
        execution_id: the execution.
        deployment_id: the deployment.
        events: the events that were emitted, unless they are published.
    """

    def __init__(
        self,
        *,
        input_data: Any = _OMITTED,
        config: dict[str, Any] | None = None,
        session_id: str | None = None,
        messages: list[Any] | None = None,
        state: dict[str, Any] | None = None,
        execution_id: UUID | str = "local",
        deployment_id: UUID | str | None = None,
        client: PlatformClient | None = None,
        publish: Callable[[str, Any], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.input_data: Any = {} if input_data is _OMITTED else input_data
        self.config: dict[str, Any] = {} if config is None else config
        self.session_id = session_id
        self.messages: list[Any] = [] if messages is None else messages
        self.state: dict[str, Any] = {} if state is None else state
        self.execution_id: str = payloads.subject_token(execution_id)
        self.deployment_id: str | None = payloads.check_deployment(deployment_id)
        self.events: list[ExecutionEvent] = []
        self._client = client
        self._publish = publish or EventNumbers(self.execution_id, self._keep)
        self._is_cancelled = is_cancelled
        self._cleanup = ExitStack()

    @property
    def cancelled(self) -> bool:
        """Whether the worker was told to stop (SIGTERM). After a grace period the handler is interrupted."""
        return self._is_cancelled is not None and self._is_cancelled()

    @cached_property
    def client(self) -> PlatformClient:
        """A client for nested calls. If it is made here, with the environment's settings, it is closed afterwards.

        Raises:
            ConfigurationError: a setting is missing or not valid.
        """
        if self._client is not None:
            return self._client
        from flow_client.client import PlatformClient  # noqa: PLC0415 - most handlers do without HTTP

        return self._cleanup.enter_context(PlatformClient())

    def emit(self, event_type: str, event_data: Any) -> None:
        """Publish an event of this execution; see `NatsBridge.push_execution_event`.

        Raises:
            InvalidRequestError: the type is empty, or the data cannot be sent as JSON.
            PayloadTooLargeError, UndeliveredError, BridgeError, ClientClosedError: as for the bridge.
        """
        self._publish(event_type, event_data)

    def close(self) -> None:
        """Close the client if it was made here. It can be called twice."""
        self._cleanup.close()

    def _keep(self, payload: bytes) -> None:
        self.events.append(ExecutionEvent.model_validate(jsontext.decode(payload)))


class EventNumbers:
    """Checks and numbers events as the bridge does, and passes their payloads on.

    Args:
        execution_id: the execution, as a subject token.
        take: called with each payload.
    """

    def __init__(self, execution_id: str, take: Callable[[bytes], object]) -> None:
        self._execution_id = execution_id
        self._numbers = itertools.count(1)
        self._take = take

    def __call__(self, event_type: str, event_data: Any) -> None:
        """Pass on the payload of an event."""
        draft = payloads.event(self._execution_id, event_type, event_data)
        self._take(draft.numbered(next(self._numbers)))
