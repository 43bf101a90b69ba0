"""The NATS side of an execution, for blocking code that runs inside one."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flow_client._api._generated import operations
from flow_client._core.checks import seconds, whole_number
from flow_client._core.lifecycle import close_together, never_finalise, renew_after_fork
from flow_client._core.log import logger
from flow_client._nats import inputs, payloads
from flow_client._nats.errors import without_nats_errors
from flow_client._nats.event_stream import EventStream
from flow_client._nats.events import EventReader, LiveReader
from flow_client._nats.runtime import GRACE, BridgeRuntime, BridgeSettings
from flow_client._nats.servers import resolve_servers
from flow_client.errors import (
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    PlatformClientError,
    UndeliveredError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from types import TracebackType
    from uuid import UUID

    from typing_extensions import Self

    from flow_client._nats.hints import NatsCompletionHints
    from flow_client._nats.outbox import BridgeStats
    from flow_client.models import ExecutionInput

ResultT = TypeVar("ResultT")

DEFAULT_CONNECT_TIMEOUT = 10.0
DEFAULT_CLOSE_TIMEOUT = 10.0
DEFAULT_PUBLISH_TIMEOUT = 60.0
DEFAULT_INPUT_TIMEOUT = 60.0
DEFAULT_MAX_UNACKED = 8192
DEFAULT_MAX_UNACKED_BYTES = 32 * 1024 * 1024


class NatsBridge:
    """Takes an execution's input, and publishes its events, status and output.

    It is a context manager, threads may share it, and it connects at first use. After a fork the child has a fresh,
    unconnected bridge; inputs that the parent holds stay the parent's. A bridge that is still open when the interpreter
    exits is closed then. A bridge that is dropped without `close()` is closed in the background, with a
    `ResourceWarning`; what it still has to send is sent.

    Args:
        nats_url: the server, or several servers of a cluster separated by commas; `NATS_URL` if None. Credentials in it
            are never logged or shown.
        connect_timeout: seconds for opening the connection. It does not bound reconnecting, which never gives up.
        close_timeout: seconds that `close()` waits for messages that are not stored yet.
        publish_timeout: seconds to wait for NATS to confirm an output or a status. It does not bound the first
            connection. Events wait for as long as an outage lasts.
        max_unacked: limit on unacknowledged messages; further messages wait for room.
        max_unacked_bytes: limit on their total size in bytes.

    Raises:
        ConfigurationError: the URL is missing, or a setting is not valid.
    """

    def __init__(
        self,
        nats_url: str | None = None,
        *,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        close_timeout: float = DEFAULT_CLOSE_TIMEOUT,
        publish_timeout: float = DEFAULT_PUBLISH_TIMEOUT,
        max_unacked: int = DEFAULT_MAX_UNACKED,
        max_unacked_bytes: int = DEFAULT_MAX_UNACKED_BYTES,
    ) -> None:
        self._servers = resolve_servers(nats_url)
        self._settings = BridgeSettings(
            connect_timeout=seconds(connect_timeout, "connect_timeout", ConfigurationError),
            close_timeout=seconds(close_timeout, "close_timeout", ConfigurationError),
            publish_timeout=seconds(publish_timeout, "publish_timeout", ConfigurationError),
            max_unacked=whole_number(max_unacked, "max_unacked"),
            max_unacked_bytes=whole_number(max_unacked_bytes, "max_unacked_bytes"),
        )
        self._closed = False
        self._runtime = BridgeRuntime(self._servers, self._settings)
        renew_after_fork(self)

    def after_fork_in_child(self) -> None:
        """Start afresh: the parent's thread does not run here, and its connection and unsent messages are not ours."""
        never_finalise(self._runtime)
        self._runtime = BridgeRuntime(self._servers, self._settings)

    def fetch_execution_input(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        *,
        ack: Literal["on_fetch", "on_done"] = "on_fetch",
        timeout: float = DEFAULT_INPUT_TIMEOUT,
    ) -> ExecutionInput:
        """Take the execution's input, which is then gone from the work queue, and publish the status `running`.

        This call takes the input away at once from an earlier worker that has not acknowledged it.

        Args:
            deployment_id: the deployment that runs the execution, if one does.
            execution_id: the execution.
            ack: `on_fetch` acknowledges the input before this returns. `on_done` keeps it in the work queue until
                `push_execution_output` has stored the output: another worker can take it over until then.
            timeout: seconds to wait for the input. It does not bound connecting, acknowledging and publishing.

        Returns:
            The input; fields that were not sent have their defaults (`ExecutionInput` in openapi.yaml).

        Raises:
            InvalidRequestError: an id or `timeout` is not valid.
            BridgeTimeoutError: no input arrived in time, or NATS cannot be reached.
            MalformedInputError: the message is not a valid input. It is gone from the work queue; `raw` has its bytes.
            BridgeError: NATS refused, or another worker took the execution over in the meantime.
            ClientClosedError: the bridge is closed.
        """
        if ack not in ("on_fetch", "on_done"):
            raise InvalidRequestError(f"ack is {ack!r}; it must be 'on_fetch' or 'on_done'")
        token = payloads.subject_token(execution_id)
        running = payloads.status(token, "running")
        payloads.check_deployment(deployment_id)
        limit = seconds(timeout, "timeout")
        content = self._run(self._runtime.inputs.fetch, token, limit, ack, timeout=limit + inputs.LONGEST_SETTLING)
        self._publish_running(token, running)
        return content

    def _publish_running(self, token: str, payload: bytes) -> None:
        try:
            # Earlier messages that could not be stored are reported by the next call: this one must return the input.
            self._runtime.outbox.confirm(operations.EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=token), payload)
        except PlatformClientError as error:
            if self._runtime.inputs.holds(token):
                self._run(self._runtime.inputs.give_back, token, timeout=inputs.LEAVE_TIMEOUT)
                raise
            # To raise would lose the input: it is no longer in the work queue.
            logger.warning("the status `running` of execution %s was not published: %s", token, error)

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

        An input that was fetched with `ack="on_done"` is acknowledged afterwards. If that fails, it is logged and not
        raised: the output is stored, and pushing it again would store it twice.

        Args:
            deployment_id: the deployment that ran the execution, if one did.
            execution_id: the execution.
            output: any value that can be sent as JSON, as for the next four; docs/workers.md lists the conversions.
            usage: what the execution consumed.
            messages: the conversation.
            state: the state for the next execution.
            error: what went wrong, None if nothing did.

        Raises:
            InvalidRequestError: an id is not valid, or a value cannot be sent as JSON: the message says where it is,
                for example `output.cfg.layers[1]`. Nothing was sent.
            PayloadTooLargeError: the message is larger than NATS accepts. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The error says whether the output may be stored.
            UndeliveredError: the output is stored, but earlier messages could not be and were given up.
            BridgeError: NATS refused, or another worker has taken the execution over.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.subject_token(execution_id)
        payload = payloads.output(token, deployment_id, output, usage, messages, state, error)
        held = self._runtime.inputs.holds(token)
        if held:
            self._run(self._runtime.inputs.check, token, timeout=inputs.SETTLE_TIMEOUT)
        try:
            self._runtime.outbox.store(operations.EXECUTION_OUTPUT_SUBJECT.format(execution_id=token), payload)
        except UndeliveredError:  # of earlier messages: the output is stored
            self._acknowledge(token, held=held)
            raise
        self._acknowledge(token, held=held)

    def _acknowledge(self, token: str, *, held: bool) -> None:
        if held:
            self._run(self._runtime.inputs.settle, token, timeout=3 * inputs.SETTLE_TIMEOUT)

    def push_execution_event(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        event_type: str,
        event_data: Any,
    ) -> None:
        """Queue an event of the execution and return at once; it is stored in the background, in order.

        Events survive any outage of NATS. An event's `sequence` follows that of the execution's last stored event,
        whichever process that came from. This waits only while `max_unacked` messages are unacknowledged.

        Args:
            deployment_id: the deployment that runs the execution, if one does.
            execution_id: the execution.
            event_type: `message`, `chunk`, `tool_call`, `done`, `error` or another kind.
            event_data: any value that can be sent as JSON.

        Raises:
            InvalidRequestError: an id is not valid, the type is empty, or the data cannot be sent as JSON. Nothing was
                sent.
            PayloadTooLargeError: the message is larger than NATS accepts. Nothing was sent. The limit is unknown until
                the first connection: an event that is too large is queued until then, and reported as undelivered.
            UndeliveredError: earlier messages could not be stored and were given up. This event is queued.
            BridgeError: the background thread cannot be started.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.subject_token(execution_id)
        payloads.check_deployment(deployment_id)
        draft = payloads.event(token, event_type, event_data)
        self._runtime.outbox.push(operations.EXECUTION_EVENT_SUBJECT.format(execution_id=token), draft)

    def publish_execution_status(self, execution_id: UUID | str, status: str) -> None:
        """Publish the execution's status and return when it and everything before it are stored.

        Args:
            execution_id: the execution.
            status: `running`, `completed`, `failed` or another one.

        Raises:
            InvalidRequestError: the id is not valid, or the status is empty. Nothing was sent.
            BridgeTimeoutError: NATS did not confirm in time. The error says whether the status may be stored.
            UndeliveredError: the status is stored, but earlier messages could not be and were given up.
            BridgeError: NATS refused.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.subject_token(execution_id)
        subject = operations.EXECUTION_STATUS_UPDATE_SUBJECT.format(execution_id=token)
        self._runtime.outbox.store(subject, payloads.status(token, status))

    def events(
        self, execution_id: UUID | str, from_sequence: int = 1, *, until: Future[Any] | None = None
    ) -> EventStream:
        """Follow the execution's events: those already stored and those to come, each once and in order.

        The iterator ends after an event of type `done` or `error`, or when the execution's status is terminal. It waits
        out any outage of NATS. Leaving the loop early, or dropping the iterator, ends the reading; `close()` ends it
        before it returns.

        Args:
            execution_id: the execution.
            from_sequence: the `sequence` of the first event to return.
            until: replaces both ends with one of your own: the iterator goes on until this future is done. If the
                future has a result, the events that are stored by then still come, within a few seconds. If it has an
                exception or is cancelled, none do.

        Returns:
            An iterator that blocks until the next event is there.

        Raises:
            InvalidRequestError: the id is not valid, or `from_sequence` is not above 0.
            BridgeError: NATS refused, or an event is malformed or no longer stored. With `until`: NATS did not deliver
                the last events in time.
            ClientClosedError: the bridge is closed.
        """
        token = payloads.subject_token(execution_id)
        first = whole_number(from_sequence, "from_sequence", InvalidRequestError)
        if until is None:
            return EventStream(EventReader(self._runtime.connection, token, first), self._run)
        reader = LiveReader(self._runtime.connection, token, first)
        until.add_done_callback(partial(self._end_reading, reader))
        return EventStream(reader, self._run)

    def _end_reading(self, reader: LiveReader, until: Future[Any]) -> None:
        with suppress(PlatformClientError):  # the bridge is closed, and the reading has ended with it
            self._runtime.thread.post(partial(reader.end, with_rest=_has_result(until)))

    @property
    def hints(self) -> NatsCompletionHints:
        """Announcements over NATS that executions have finished. `PlatformClient` uses them for its futures."""
        return self._runtime.hints

    def flush(self, timeout: float | None = None) -> None:
        """Return when everything that was pushed before is stored.

        Args:
            timeout: seconds to wait; `publish_timeout` if None.

        Raises:
            InvalidRequestError: `timeout` is not valid.
            UndeliveredError: messages are not stored in time and are still being sent, or some were given up.
        """
        self._runtime.outbox.flush(self._settings.publish_timeout if timeout is None else seconds(timeout, "timeout"))

    def stats(self) -> BridgeStats:
        """Return how many messages are stored and on their way, and how delivery has been interrupted."""
        return self._runtime.outbox.stats()

    def close(self) -> None:
        """Wait until everything is stored, for `close_timeout` seconds at most; then end the connection and the thread.

        It can be called twice. Calls in other threads end with `ClientClosedError`. An input that was fetched with
        `ack="on_done"` and has no output yet stays in the work queue. A `with` block that ends with an exception logs
        what this would raise. After an interrupt, such as Ctrl-C, nothing is given up: call it again, or leave it to
        the interpreter's exit.

        Raises:
            UndeliveredError: messages were given up; `undelivered` says how many.
        """
        if self._closed and self._runtime.thread.ended:
            return
        self._closed = True
        close_together([self._runtime])
        failure = self._runtime.take_failures()
        if failure is not None:
            raise failure

    def close_quietly(self, when: str) -> None:
        """Close, and log what `close` would raise; `when` begins the log line."""
        try:
            self.close()
        except UndeliveredError as error:
            logger.error("%s: %s", when, error)

    def __del__(self) -> None:
        runtime: BridgeRuntime | None = getattr(self, "_runtime", None)  # not there if a setting was refused
        if runtime is not None and runtime.thread.running:
            runtime.close_in_background()
            message = f"unclosed {self!r}: use it, or the client that opened it, in a `with` block, or call close()"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if value is None:
            self.close()
        else:
            self.close_quietly("at the end of a block that failed")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._servers}{' closed' if self._closed else ''}>"

    def _run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, timeout: float) -> ResultT:
        """Run a coroutine function in the loop; the connection may have to be opened within the same wait."""
        if self._closed:
            raise ClientClosedError("the bridge is closed")
        limit = timeout + self._settings.connect_timeout + GRACE
        result: ResultT = self._runtime.thread.run(without_nats_errors, function, *args, timeout=limit)
        return result


def _has_result(future: Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None
