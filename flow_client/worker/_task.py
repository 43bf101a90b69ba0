"""What a handler is given."""

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

_LEFT_OUT: Any = object()  # None is an input, too


class Task:
    """What a handler is given. A worker makes it of the execution's input; a test can make one of its own.

    ```python
    task = Task(input_data={"text": "to be or not to be"})
    assert count_words(task) == {"words": 6}
    assert [event.event_type for event in task.events] == ["message"]
    ```

    Args:
        input_data: the input; {} if it is left out.
        config: the configuration that the execution was submitted with.
        session_id: the conversation, None if there is none.
        messages: the conversation so far.
        state: the state to go on from.
        execution_id: the execution.
        deployment_id: the deployment that runs it, None if none does.
        client: the client for nested calls; None for one with the settings of the environment, made at its first use.
        publish: what an event's type and data are given to; None keeps the events in `events`.
        is_cancelled: says whether the handler should stop.

    Attributes:
        input_data: the input, any JSON value.
        config: the configuration.
        session_id: the conversation.
        messages: the conversation so far.
        state: the state to go on from.
        execution_id: the execution.
        deployment_id: the deployment.
        events: what was emitted, if nothing publishes it.
    """

    def __init__(
        self,
        *,
        input_data: Any = _LEFT_OUT,
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
        self.input_data: Any = {} if input_data is _LEFT_OUT else input_data
        self.config: dict[str, Any] = {} if config is None else config
        self.session_id = session_id
        self.messages: list[Any] = [] if messages is None else messages
        self.state: dict[str, Any] = {} if state is None else state
        self.execution_id = payloads.execution_token(execution_id)
        self.deployment_id = payloads.check_deployment(deployment_id)
        self.events: list[ExecutionEvent] = []
        self._client = client
        self._publish = publish or EventNumbers(self.execution_id, self._keep)
        self._is_cancelled = is_cancelled
        self._cleanup = ExitStack()

    @property
    def cancelled(self) -> bool:
        """Whether the worker was told to stop (SIGTERM); a grace period later the handler is interrupted."""
        return self._is_cancelled is not None and self._is_cancelled()

    @cached_property
    def client(self) -> PlatformClient:
        """A client for nested calls. One that is made here, of the environment's settings, is closed after the handler.

        Raises:
            ConfigurationError: a setting is missing or unusable.
        """
        if self._client is not None:
            return self._client
        from flow_client.client import PlatformClient  # noqa: PLC0415 - most handlers do without HTTP

        return self._cleanup.enter_context(PlatformClient())

    def emit(self, event_type: str, event_data: Any) -> None:
        """Publish an event of this execution; see `NatsBridge.push_execution_event`.

        Raises:
            InvalidRequestError: the type is empty, or the data has no JSON form.
            PayloadTooLargeError, UndeliveredError, BridgeError, ClientClosedError: as the bridge says.
        """
        self._publish(event_type, event_data)

    def close(self) -> None:
        """Close the client that was made here, if there is one. Can be called twice."""
        self._cleanup.close()

    def _keep(self, payload: bytes) -> None:
        self.events.append(ExecutionEvent.model_validate(jsontext.decode(payload)))


class EventNumbers:
    """Checks and numbers events as the bridge does, and hands their payloads on.

    Args:
        execution_id: the execution, as a subject token.
        take: what takes the payloads.
    """

    def __init__(self, execution_id: str, take: Callable[[bytes], object]) -> None:
        self._execution_id = execution_id
        self._numbers = itertools.count(1)
        self._take = take

    def __call__(self, event_type: str, event_data: Any) -> None:
        """Hand on the payload of an event."""
        draft = payloads.event(self._execution_id, event_type, event_data)
        self._take(draft.numbered(next(self._numbers)))
