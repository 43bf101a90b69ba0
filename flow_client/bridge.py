"""The NATS side of an execution, for blocking code that runs inside one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from flow_client._api._generated import operations
from flow_client._bridge_core import BridgeCore
from flow_client._core.checks import seconds
from flow_client._nats import payloads
from flow_client._nats.event_stream import EventStream
from flow_client._nats.events import EventReader, LiveReader
from flow_client._nats.outbox.backlog import Message
from flow_client.errors import ClientClosedError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from uuid import UUID

    from flow_client.models import ExecutionEvent, ExecutionInput

DEFAULT_INPUT_TIMEOUT = 60.0


class NatsBridge(BridgeCore):
    """Takes an execution's input and publishes its output, events and status (contract section 2).

    It is a context manager, threads may share it, and it connects at first use. After a fork the child has a fresh,
    unconnected one; inputs that the parent holds stay the parent's. What is open at the interpreter's exit is closed.
    One that is dropped unclosed is closed in the background, with a `ResourceWarning`: what it has to send is still
    sent.

    Args:
        nats_url: the server, or several of a cluster separated by commas; `NATS_URL` if None. Credentials in it are
            shown nowhere.
        connect_timeout: seconds for opening the connection. It does not bound reconnecting, which goes on for ever.
        close_timeout: seconds that `close()` waits for what is not stored yet.
        publish_timeout: seconds until an output or a status is given up that the server does not confirm. It does not
            bound the first connection. Events wait for as long as an outage lasts.
        max_unacked: how many messages may be on their way; one more waits for room.
        max_unacked_bytes: how many bytes they may have.

    Raises:
        ConfigurationError: there is no URL, or a setting is unusable.
    """

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
            InvalidRequestError: an id or `timeout` is not valid.
            BridgeTimeoutError: no input came in time, or NATS cannot be reached.
            MalformedInputError: what came is no input. It is gone from the work queue; `raw` has its bytes.
            BridgeError: NATS refused, or another worker took over meanwhile.
            ClientClosedError: the bridge is closed.
        """
        if ack not in ("on_fetch", "on_done"):
            raise InvalidRequestError(f"ack is {ack!r}; it must be 'on_fetch' or 'on_done'")
        token = payloads.execution_token(execution_id)
        running = payloads.status(token, "running")
        payloads.check_deployment(deployment_id)
        return self._taking.fetch(token, running, seconds(timeout, "timeout"), ack)

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
        """Publish the execution's output and return when it and everything before it are stored.

        An input that was fetched with `ack="on_done"` is acknowledged afterwards. That failing is logged, not raised:
        the output is stored, and to push it again would store a second one.

        Args:
            deployment_id: the deployment that ran the execution, if one did.
            execution_id: the execution.
            output: any value that has a JSON form, here and below; docs/workers.md lists what is sent as what.
            usage: what the execution consumed.
            messages: the conversation.
            state: the state it leaves behind.
            error: what went wrong, None if nothing did.

        Raises:
            InvalidRequestError: an id is not valid, or a value has no JSON form: the message names its place, like
                `output.cfg.layers[1]`. Nothing was sent.
            PayloadTooLargeError: NATS does not take messages of that size. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The error says whether the output may be stored.
            UndeliveredError: the output is stored, but earlier messages can never be.
            BridgeError: NATS refused, or another worker has taken the execution over.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.execution_token(execution_id)
        payload = payloads.output(token, deployment_id, output, usage, messages, state, error)
        self._taking.hand_in(token, payload)

    def push_execution_event(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        event_type: str,
        event_data: Any,
    ) -> None:
        """Take an event of the execution and return at once; it is stored in the background, in order, over any outage.

        Its `sequence` follows that of the execution's last stored event, from whichever process that came. Only when
        `max_unacked` messages are on their way this waits for room.

        Args:
            deployment_id: the deployment that runs the execution, if one does.
            execution_id: the execution.
            event_type: `message`, `chunk`, `tool_call`, `done`, `error` or another kind.
            event_data: any value that has a JSON form.

        Raises:
            InvalidRequestError: an id is not valid, the type is empty, or the data has no JSON form. Nothing was sent.
            PayloadTooLargeError: NATS does not take messages of that size. Nothing was sent. Until the first connection
                the size is not known, and the event is taken and becomes an undelivered one.
            UndeliveredError: earlier messages can never be stored. This event was taken all the same.
            BridgeError: the background thread cannot be started.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.execution_token(execution_id)
        payloads.check_deployment(deployment_id)
        draft = payloads.event(token, event_type, event_data)
        self._outbox.push(Message(operations.EXECUTION_EVENT_SUBJECT.format(execution_id=token), draft))

    def publish_execution_status(self, execution_id: UUID | str, status: str) -> None:
        """Publish a change of the execution's status and return when it and everything before it are stored.

        Args:
            execution_id: the execution.
            status: `running`, `completed`, `failed` or another one.

        Raises:
            InvalidRequestError: the id is none, or the status is empty. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The error says whether the status may be stored.
            UndeliveredError: the status is stored, but earlier messages can never be.
            BridgeError: NATS refused.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.execution_token(execution_id)
        self._taking.store(operations.EXECUTION_STATUS_UPDATE_SUBJECT, token, payloads.status(token, status))

    def events(self, execution_id: UUID | str, from_sequence: int = 1) -> Iterator[ExecutionEvent]:
        """Follow the execution's events, those that are stored and those to come, each once and in order.

        It ends with an event of type `done` or `error`, or when the execution has a terminal status. It goes on after
        an outage, for which it waits. Leaving the loop early, or dropping the iterator, ends the reading; its `close()`
        ends it before it returns.

        Args:
            execution_id: the execution.
            from_sequence: the number of the first event.

        Raises:
            InvalidRequestError: the id is none, or the number is not above 0.
            BridgeError: NATS refused, or an event is malformed or not stored any more.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.execution_token(execution_id)
        return EventStream(EventReader(self._connection, token, payloads.check_sequence(from_sequence)), self._run)

    def _live_events(self, execution_id: str, ended: Future[Any]) -> Iterator[ExecutionEvent]:
        """Follow all events of an execution until `ended` has a result, and then those that are stored by then.

        Raises:
            BridgeError: as for `events`; NATS cannot be reached, or does not bring the last events in time.
        """
        reader = LiveReader(self._connection, execution_id)

        def end(ended: Future[Any]) -> None:
            with suppress(ClientClosedError):
                self._thread.post(partial(reader.end, with_rest=ended.exception() is None))

        ended.add_done_callback(end)
        return EventStream(reader, self._run)
