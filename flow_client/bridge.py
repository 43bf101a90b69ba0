"""The NATS side of an execution, for blocking code that runs inside one."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import WeakSet

from flow_client import _inbox, _messages
from flow_client._events import LONGEST_READ, EventReader
from flow_client._fork import renew_after_fork
from flow_client._log import logger
from flow_client._loop import LoopThread
from flow_client._nats import Connection
from flow_client._publishing import Publisher
from flow_client._servers import resolve_servers
from flow_client.config import duration
from flow_client.errors import ClientClosedError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType
    from uuid import UUID

    from typing_extensions import Self

    from flow_client.models import ExecutionEvent, ExecutionInput

ResultT = TypeVar("ResultT")

DEFAULT_CONNECT_TIMEOUT = 10.0
DEFAULT_CLOSE_TIMEOUT = 10.0
DEFAULT_PUBLISH_TIMEOUT = 60.0
DEFAULT_INPUT_TIMEOUT = 60.0
# Every coroutine keeps its own deadline; the wait for it is only the last resort.
_GRACE = 1.0

_open_bridges: WeakSet[NatsBridge] = WeakSet()


class NatsBridge:
    """Takes an execution's input and publishes its output, events and status (contract section 2).

    It is a context manager, threads may share it, and it connects at first use. After a fork the child has a fresh,
    unconnected one; inputs that the parent holds stay the parent's. What is open at the interpreter's exit is closed.

    Args:
        nats_url: the server, or several of a cluster separated by commas; `NATS_URL` if None. Credentials in it are
            shown nowhere.
        connect_timeout: seconds for opening the connection. It does not bound reconnecting, which goes on for ever.
        close_timeout: seconds that `close()` may take.
        publish_timeout: seconds until a message is given up that the server does not confirm, outages included. It
            does not bound the first connection.

    Raises:
        ConfigurationError: there is no URL, or a setting is unusable.
    """

    def __init__(
        self,
        nats_url: str | None = None,
        *,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        close_timeout: float = DEFAULT_CLOSE_TIMEOUT,
        publish_timeout: float = DEFAULT_PUBLISH_TIMEOUT,
    ) -> None:
        self._servers = resolve_servers(nats_url)
        self._connect_timeout = duration(connect_timeout, "connect_timeout")
        self._close_timeout = duration(close_timeout, "close_timeout")
        self._publish_timeout = duration(publish_timeout, "publish_timeout")
        self._closed = False
        self._begin()
        renew_after_fork(self)
        _open_bridges.add(self)

    def _begin(self) -> None:
        self._thread = LoopThread()
        self._connection = Connection(self._servers, self._connect_timeout)
        self._publisher = Publisher(self._connection, self._publish_timeout)
        self._inputs = _inbox.Inputs(self._connection, self._publisher.status)

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread does not run here, and its connection is not ours."""
        self._begin()

    def fetch_execution_input(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        *,
        ack: Literal["on_fetch", "on_done"] = "on_fetch",
        timeout: float = DEFAULT_INPUT_TIMEOUT,
    ) -> ExecutionInput:
        """Take the execution's input, which is then gone from the work queue, and publish the status `running`.

        A predecessor that took the input and did not acknowledge it loses it to this call at once.

        Args:
            deployment_id: the deployment that runs the execution, if one does.
            execution_id: the execution.
            ack: `on_fetch` acknowledges the input before this returns. `on_done` keeps it in the work queue until
                `push_execution_output` has stored the output: another worker can take it over until then.
            timeout: seconds to wait for the input. It does not bound the connecting, acknowledging and publishing.

        Returns:
            The input; what was not sent has the contract's defaults.

        Raises:
            InvalidRequestError: an id is none.
            BridgeTimeoutError: no input came in time, or NATS cannot be reached.
            MalformedInputError: what came is no input. It is gone from the work queue; `raw` has its bytes.
            BridgeError: NATS refused, or another worker took over meanwhile.
            ClientClosedError: the bridge is closed.
        """
        if ack not in ("on_fetch", "on_done"):
            raise InvalidRequestError(f"ack is {ack!r}; it must be 'on_fetch' or 'on_done'")
        token = _messages.execution_token(execution_id)
        running = _messages.status(token, "running")
        _messages.check_deployment(deployment_id)
        limit = duration(timeout, "timeout") + self._publish_timeout + _inbox.SETTLE_TIMEOUT
        return self._run(self._inputs.fetch, token, running, timeout, ack, limit=limit)

    def push_execution_output(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        output: Any,
        usage: Any = None,
        messages: Any = None,
        state: Any = None,
        error: Any = None,
    ) -> None:
        """Publish the execution's output and return when it is stored.

        An input that was fetched with `ack="on_done"` is acknowledged afterwards. That failing is logged, not raised:
        the output is stored, and to push it again would store a second one.

        Args:
            deployment_id: the deployment that ran the execution, if one did.
            execution_id: the execution.
            output: any value; what JSON has no type for is sent as `str(value)`, here and below.
            usage: what the execution consumed.
            messages: the conversation.
            state: the state it leaves behind.
            error: what went wrong, None if nothing did.

        Raises:
            InvalidRequestError: an id is none, or a value cannot be sent as JSON: NaN, an infinity, a lone surrogate, a
                value within itself. Nothing was sent.
            PayloadTooLargeError: NATS does not take messages of that size. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The output may be stored.
            BridgeError: NATS refused, or another worker has taken the execution over.
            ClientClosedError: the bridge is closed.
        """
        token = _messages.execution_token(execution_id)
        content = {"output": output, "usage": usage, "messages": messages, "state": state, "error": error}
        payload = _messages.output(token, deployment_id, **content)
        self._run(self._push_output, token, payload, limit=self._publish_timeout + 3 * _inbox.SETTLE_TIMEOUT)

    def push_execution_event(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        event_type: str,
        event_data: Any,
    ) -> None:
        """Publish an event of the execution and return when it is stored.

        Its `sequence` follows that of the execution's last stored event, from whichever process that came.

        Args:
            deployment_id: the deployment that runs the execution, if one does.
            execution_id: the execution.
            event_type: `message`, `chunk`, `tool_call`, `done`, `error` or another kind.
            event_data: any value; what JSON has no type for is sent as `str(value)`.

        Raises:
            InvalidRequestError: an id is none, the type is empty, or the data cannot be sent as JSON. Nothing was sent.
            PayloadTooLargeError: NATS does not take messages of that size. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The event may be stored; no number is left out.
            BridgeError: NATS refused.
            ClientClosedError: the bridge is closed.
        """
        token = _messages.execution_token(execution_id)
        _messages.check_deployment(deployment_id)
        draft = _messages.event(token, event_type, event_data)
        self._run(self._publisher.event, draft, limit=self._publish_timeout)

    def publish_execution_status(self, execution_id: UUID | str, status: str) -> None:
        """Publish a change of the execution's status and return when it is stored.

        Args:
            execution_id: the execution.
            status: `running`, `completed`, `failed` or another one.

        Raises:
            InvalidRequestError: the id is none, or the status is empty. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The status may be stored.
            BridgeError: NATS refused.
            ClientClosedError: the bridge is closed.
        """
        token = _messages.execution_token(execution_id)
        self._run(self._publisher.status, token, _messages.status(token, status), limit=self._publish_timeout)

    def events(self, execution_id: UUID | str, from_sequence: int = 1) -> Iterator[ExecutionEvent]:
        """Follow the execution's events, those that are stored and those to come, each once and in order.

        It ends with an event of type `done` or `error`, or when the execution has a terminal status. It goes on after
        an outage, for which it waits.

        Args:
            execution_id: the execution.
            from_sequence: the number of the first event.

        Raises:
            InvalidRequestError: the id is none, or the number is not above 0.
            BridgeError: NATS refused, or an event is malformed or not stored any more.
            ClientClosedError: the bridge is closed.
        """
        token = _messages.execution_token(execution_id)
        return self._follow(EventReader(self._connection, token, _messages.check_sequence(from_sequence)))

    def close(self) -> None:
        """Close the connection and end the thread, within `close_timeout`. Can be called twice.

        Calls of other threads end with `ClientClosedError`. An input that was fetched with `ack="on_done"` and has no
        output yet stays in the work queue.
        """
        if self._closed:
            return
        self._closed = True
        _open_bridges.discard(self)
        if not self._thread.stop(self._close_timeout + _GRACE, self._disconnect):
            logger.warning("the bridge's thread did not end within %g s", self._close_timeout + _GRACE)

    async def _disconnect(self) -> None:
        self._inputs.release()
        await self._connection.close(self._close_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NatsBridge {self._servers}{' closed' if self._closed else ''}>"

    def _run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, limit: float) -> ResultT:
        if self._closed:
            raise ClientClosedError("the bridge is closed")
        return self._thread.run(function, *args, timeout=limit + self._connect_timeout + _GRACE)

    def _follow(self, reader: EventReader) -> Iterator[ExecutionEvent]:
        try:
            while not reader.over:
                yield from self._run(reader.read, limit=LONGEST_READ)
        finally:
            if not self._closed:
                self._run(reader.close, limit=_inbox.LEAVE_TIMEOUT)

    async def _push_output(self, execution_id: str, payload: bytes) -> None:
        await self._inputs.check(execution_id)
        await self._publisher.output(execution_id, payload)
        await self._inputs.settle(execution_id)


def _close_all() -> None:
    for bridge in list(_open_bridges):
        bridge.close()


atexit.register(_close_all)
