"""A handle on one execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from flow_client._api.mapping import AnswerMapping
from flow_client._api.model import Model
from flow_client._core.checks import optional_seconds
from flow_client.errors import ClientClosedError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from typing import TypeAlias
    from uuid import UUID

    from typing_extensions import Self

    from flow_client._api._generated.models import (
        ExecutionAccepted,
        ExecutionCancellation,
        ExecutionEvent,
        ExecutionLogs,
        ExecutionRecord,
    )
    from flow_client.config import Settings

    ExecutionReference: TypeAlias = "UUID | str | ExecutionHandle"


OnInterrupt = Literal["detach", "cancel"]
_ACCEPTED: Model[ExecutionAccepted] = Model("ExecutionAccepted")
_NAMES = ("execution_id", "idempotency_key", "base_url", "org_id", "workspace_id")


class ExecutionClient(Protocol):
    """What a handle needs from a client."""

    settings: Settings

    def get_execution_status(self, execution_id: str) -> ExecutionRecord:
        """Return the execution's current record."""

    def await_execution_result(
        self, execution_id: str, *, timeout_seconds: float | None, on_interrupt: OnInterrupt
    ) -> ExecutionRecord:
        """Wait for the end of the execution and return its terminal record."""

    def get_execution_logs(self, execution_id: str) -> ExecutionLogs:
        """Return the end of what the execution has printed."""

    def cancel_execution(self, execution_id: str) -> ExecutionCancellation:
        """Ask for the execution's cancellation."""

    def execution_future(self, execution_id: ExecutionReference, *, timeout: float | None) -> Future[ExecutionRecord]:
        """Return a future of the execution's terminal record."""

    def execution_events(self, execution_id: str, from_sequence: int) -> Iterator[ExecutionEvent]:
        """Follow the execution's events."""


class ExecutionHandle(AnswerMapping):
    """One execution, to be asked about and waited for.

    `client.submit_*` returns one; `client.execution(execution_id)` makes one without a request.

    It can be read as the dict that answered the submission: `handle["execution_id"]`, `handle["status"]`. One that was
    made without a request has `execution_id` alone. Two handles are never equal, and a handle can be a key.

    Pickled, or as `to_dict()`, it keeps what names the execution, and neither the client nor the token. Unpickled it is
    detached: whatever asks the platform raises `ClientClosedError` until `attach(client)` gives it a client.

    Attributes:
        execution_id: the execution's id.
        accepted: the platform's answer to the submission; None on a handle that was not made by one.
        idempotency_key: the key under which it was submitted: submitting again with it starts no second execution.
        base_url: the API of the platform that runs it.
        org_id: its organisation.
        workspace_id: its workspace.
    """

    def __init__(
        self,
        client: ExecutionClient,
        execution_id: str,
        accepted: ExecutionAccepted | None = None,
        idempotency_key: str | None = None,
        component: str = "",
    ) -> None:
        self._attached: ExecutionClient | None = client
        self._component = component
        self.execution_id = execution_id
        self.accepted = accepted
        self.idempotency_key = idempotency_key
        self.base_url: str = client.settings.base_url
        self.org_id: str | None = client.settings.org_id
        self.workspace_id: str | None = client.settings.workspace_id
        self._last_status: str | None = None

    def status(self) -> ExecutionRecord:
        """Return the execution's current record, as `PlatformClient.get_execution_status` does."""
        return self._noted(self._client.get_execution_status(self.execution_id))

    def wait(self, timeout: float | None = 300.0, *, on_interrupt: OnInterrupt = "detach") -> ExecutionRecord:
        """Wait up to `timeout` seconds for the end and return the terminal record, whatever its status.

        Args:
            timeout: seconds to wait; None for no limit. It does not bound the execution, which goes on.
            on_interrupt: `detach` leaves it running on Ctrl-C too, `cancel` asks for its cancellation, best effort.

        Raises:
            ExecutionWaitTimeout: the time ran out.
            PlatformClientError: as for `PlatformClient.await_execution_result`.
        """
        limit = optional_seconds(timeout, "timeout")
        return self._noted(
            self._client.await_execution_result(self.execution_id, timeout_seconds=limit, on_interrupt=on_interrupt)
        )

    def result(self, timeout: float | None = 300.0, *, on_interrupt: OnInterrupt = "detach") -> Any:
        """Wait as `wait` does and return the output.

        Raises:
            PlatformExecutionError: it did not complete; `record` says how it ended.
            ExecutionWaitTimeout: the time ran out.
            PlatformClientError: as for `PlatformClient.await_execution_result`.
        """
        record = self.wait(timeout, on_interrupt=on_interrupt)
        return record.raise_for_status(idempotency_key=self.idempotency_key).output

    def future(self, timeout: float | None = None) -> Future[ExecutionRecord]:
        """Return a `concurrent.futures.Future` of the terminal record, whatever its status.

        All futures of a client share up to 32 threads that poll, no faster than the platform allows and at most
        `max_polls_per_second` times a second. While there are no more than 32 futures, each has a request that the
        platform may hold, and its end is noticed within milliseconds. Callbacks run in those threads: a slow one
        occupies its thread, not the others. Errors that a wait tolerates are tolerated here too. `future.cancel()`
        ends the polling; the execution goes on. If the client has a `nats_url`, executions that are announced there
        as ended are polled first; without NATS futures work all the same.

        Args:
            timeout: seconds after which the future fails; None for no limit. With hundreds of futures it fails later,
                by up to the time of one round of polls, as it does while the platform asks for a rest (`Retry-After`).
                It does not bound the execution.

        The future fails with:
            ExecutionWaitTimeout: the time ran out.
            PlatformNotFoundError: there is no such execution.
            ClientClosedError: the client was closed.
            PlatformClientError: the platform refused; or this is a forked child and the future belongs to its parent.

        Raises:
            InvalidRequestError: `timeout` is not valid.
            ClientClosedError: the client is closed.
        """
        return self._client.execution_future(self, timeout=timeout)

    def cancel(self) -> ExecutionCancellation:
        """Ask for cancellation, best effort; return the platform's answer as `PlatformClient.cancel_execution` does."""
        return self._client.cancel_execution(self.execution_id)

    def events(self, from_sequence: int = 1) -> Iterator[ExecutionEvent]:
        """Follow the execution's events over NATS from a number on, as `NatsBridge.events` does.

        Raises:
            ConfigurationError: the client has no `nats_url`.
            PlatformClientError: as for `NatsBridge.events`.
        """
        return self._client.execution_events(self.execution_id, from_sequence)

    def logs(self) -> str:
        """Return the end of what the execution has printed, also while it runs; "" if it has printed nothing.

        Raises:
            PlatformUnsupportedError: this platform does not show logs.
            PlatformClientError: as for `PlatformClient.get_execution_logs`.
        """
        return self._client.get_execution_logs(self.execution_id).logs

    def attach(self, client: ExecutionClient) -> Self:
        """Have the handle ask `client` from now on, and return the handle.

        Raises:
            InvalidRequestError: the client is of another organisation or workspace. Its `base_url` may be another one:
                a platform can be reached by several names.
        """
        id_of(self, client.settings)
        self._attached = client
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return what names the execution as a JSON object, without a token; `from_dict` reads it."""
        accepted = None if self.accepted is None else dict(self.accepted)
        return {**{name: getattr(self, name) for name in _NAMES}, "accepted": accepted}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Return the handle that `to_dict()` was called on, detached: `attach(client)` makes it usable.

        Raises:
            InvalidRequestError: `fields` name no execution.
        """
        if not isinstance(fields, dict) or not isinstance(fields.get("execution_id"), str):
            raise InvalidRequestError(f"there is no execution_id in {fields!r}")
        handle = cls.__new__(cls)
        handle.__setstate__(fields)
        return handle

    @property
    def _client(self) -> ExecutionClient:
        if self._attached is None:
            raise ClientClosedError(
                f"the handle on execution {self.execution_id} was unpickled and has no client: "
                f"call handle.attach(client), or take client.execution({self.execution_id!r})",
                execution_id=self.execution_id,
                idempotency_key=self.idempotency_key,
            )
        return self._attached

    def as_received(self) -> dict[str, Any]:
        """Return the answer to the submission, or the id alone if there was none."""
        return {"execution_id": self.execution_id} if self.accepted is None else self.accepted.as_received()

    def _noted(self, record: ExecutionRecord) -> ExecutionRecord:
        self._last_status = record.status
        return record

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping) and not isinstance(other, AnswerMapping):
            return self.as_received() == other
        return self is other

    __hash__ = object.__hash__

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        accepted = state.get("accepted")
        vars(self).update({name: state.get(name) for name in _NAMES}, _attached=None, _component="", _last_status=None)
        self.accepted = None if accepted is None else _ACCEPTED.type.model_validate(accepted)

    def __repr__(self) -> str:
        return f"ExecutionHandle({self.execution_id!r}{', detached' if self._attached is None else ''})"

    def _repr_html_(self) -> str:
        """Return what is known without asking: the status is the last one seen here."""
        from flow_client._notebook import handle_card  # noqa: PLC0415 - only notebooks need it

        if self._last_status is None and self.accepted is not None:
            return handle_card(self, self.accepted.status, "when submitted")
        return handle_card(self, self._last_status, "when last asked")


def component_of(execution: ExecutionReference) -> str:
    """Return what is executed, as far as the handle knows: executions of it take about as long as each other."""
    return execution._component if isinstance(execution, ExecutionHandle) else ""  # noqa: SLF001 - its own kind


def id_of(execution: ExecutionReference, settings: Settings) -> UUID | str:
    """Return the id of an execution that a client with these settings can be asked about.

    Raises:
        InvalidRequestError: it is given as a handle, and the client is of another organisation or workspace.
    """
    if not isinstance(execution, ExecutionHandle):
        return execution
    ours, theirs = (execution.org_id, execution.workspace_id), (settings.org_id, settings.workspace_id)
    if ours != theirs:
        raise InvalidRequestError(
            f"execution {execution.execution_id} is of organisation and workspace {ours}, the client of {theirs}",
            execution_id=execution.execution_id,
        )
    return execution.execution_id
