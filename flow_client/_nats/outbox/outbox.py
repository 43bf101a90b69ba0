"""The outbox of a bridge: it stores what callers publish, each message once and in order, over any outage."""

from __future__ import annotations

import asyncio
import time
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.outbox.backlog import Backlog, Message
from flow_client._nats.outbox.delivery import Delivery
from flow_client._nats.outbox.publication import UnconfirmedError
from flow_client._nats.outbox.session import ClientRefusedError, Session, too_large
from flow_client.errors import BridgeTimeoutError, ClientClosedError, PlatformClientError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._nats.loop import LoopThread
    from flow_client._nats.payloads import EventDraft
    from flow_client._nats.servers import Servers
    from flow_client.errors import BridgeError

FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 1.0


@dataclass(frozen=True)
class BridgeStats:
    """What a bridge has published.

    Attributes:
        stored: how many messages JetStream has confirmed.
        unacked: how many messages it has not confirmed yet.
        resent: how many messages were sent again because it was not known whether they were stored.
        sessions: how many connections were made for publishing; a failure of any kind leads to a new one.
        longest_pause: the longest time in seconds for which nothing could be delivered, including an outage that is
            still going on.
    """

    stored: int
    unacked: int
    resent: int
    sessions: int
    longest_pause: float


class Outbox:
    """Publishes from any thread, over a connection of its own.

    Callers append to the backlog and wait. Sending, settling and giving up are done in the loop's thread.

    Args:
        thread: the thread that delivers.
        servers: the servers to connect to.
        connect_timeout: seconds for one attempt to connect, and for the first connection.
        publish_timeout: seconds that `store` waits, not counting the first connection.
        close_timeout: seconds that `closing` waits.
        max_messages: limit on unacknowledged messages.
        max_bytes: limit on their total size in bytes.
    """

    def __init__(
        self,
        thread: LoopThread,
        servers: Servers,
        *,
        connect_timeout: float,
        publish_timeout: float,
        close_timeout: float,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        self._thread = thread
        self._servers = servers
        self._connect_timeout = connect_timeout
        self._publish_timeout = publish_timeout
        self._close_timeout = close_timeout
        self._more = asyncio.Event()
        self._backlog = Backlog(max_messages, max_bytes, self._wake, thread.start)
        self._delivery = Delivery(self._backlog, self._succeeded, self._more.set)
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._max_payload: int | None = None
        self._sessions = 0
        self._connecting: Deadline | None = None
        self._backoff = FIRST_BACKOFF
        self._failure: Exception | None = None
        self._failing_since: float | None = None
        self._longest_pause = 0.0

    def push(self, subject: str, content: bytes | EventDraft) -> None:
        """Queue a message and return at once; wait only while the outbox is full.

        Raises:
            PayloadTooLargeError: the message is too large. The limit is known from the first connection on.
            UndeliveredError: earlier messages could not be stored. This one is queued.
            ClientClosedError: the outbox is closed.
        """
        message = Message(subject, content)
        self._check_size(message)
        failed = self._backlog.failed  # before this message can be given up itself
        self._backlog.append(message)
        self._backlog.raise_failures(up_to=failed)

    def store(self, subject: str, payload: bytes) -> None:
        """Queue a message and return when it and all before it are stored.

        Raises:
            UndeliveredError: earlier messages could not be stored. This one is stored.
            BridgeError: as for `confirm`.
            ClientClosedError: the outbox is closed.
        """
        self.confirm(subject, payload)
        self._backlog.raise_failures(is_stored=True)

    def confirm(self, subject: str, payload: bytes) -> None:
        """Do what `store` does, but leave it to the next call to report earlier messages that could not be stored.

        Raises:
            PayloadTooLargeError: the message is too large.
            BridgeTimeoutError: it was not confirmed in time, and is not sent again. The error says whether it may be
                stored.
            BridgeError: NATS refused it.
            ClientClosedError: the outbox is closed.
        """
        message = Message(subject, payload, waited_for=True)
        self._check_size(message)
        deadline = Deadline(self._publish_timeout + (0 if self._sessions else self._connect_timeout))
        try:
            if self._backlog.append(message, deadline.seconds):
                message.wait(max(deadline.remaining(), 0))
        finally:
            unsent = not message.settled and message.withdraw()
        if message.error is not None:
            raise copy(message.error)
        if not message.settled:
            outcome = "it was not sent, and will not be" if unsent else "it may be stored"
            raise BridgeTimeoutError(
                f"publishing to {message.subject}: NATS did not confirm it within {deadline.seconds:g} s; "
                f"{outcome}{self._because()}"
            ) from self._failure

    def flush(self, timeout: float) -> None:
        """Wait until everything is stored.

        Raises:
            UndeliveredError: messages are not stored in time and are still being sent, or some were given up.
        """
        done = self._backlog.barrier().wait(timeout)
        self._backlog.raise_failures()
        if not done:
            raise self._unfinished(f"after {timeout:g} s; they are still being sent")

    def _unfinished(self, when: str) -> UndeliveredError:
        count = len(self._backlog)
        what = "1 message is" if count == 1 else f"{count} messages are"
        error = UndeliveredError(f"{what} not stored {when}{self._because()}", undelivered=count)
        error.__cause__ = self._failure
        return error

    def closing(self) -> Iterator[None]:
        """Take no more messages and wait until everything is stored, in steps; `shut_down` gives up the rest."""
        deadline = Deadline(self._close_timeout)
        self._backlog.refuse_more(ClientClosedError("the bridge is closed"))
        try:
            barrier = self._backlog.barrier()
        except PlatformClientError:  # the thread has ended, and everything is given up
            return
        yield
        barrier.wait(deadline.remaining())

    def take_failures(self) -> UndeliveredError | None:
        """Return an error that counts what was given up since the last call, or is stuck in a thread that hangs."""
        return self._backlog.take_failures() or (self._unfinished("at the end") if len(self._backlog) else None)

    def stats(self) -> BridgeStats:
        """Return the figures so far."""
        stored, resent = self._delivery.stored_count, self._delivery.resent
        return BridgeStats(stored, len(self._backlog), resent, self._sessions, max(self._longest_pause, self._pause()))

    # Called by the loop.

    def tick(self) -> None:
        """Deliver messages for which the loop was not woken."""
        if self._backlog.has_incoming():
            self._start()

    async def shut_down(self) -> None:
        """End delivery and its connection, and give up what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        because = self._because()
        self._backlog.fail_unsent(ClientClosedError(f"the bridge was closed before it could be sent{because}"))
        self._backlog.fail_all(
            ClientClosedError(f"the bridge was closed before NATS confirmed; it may be stored{because}")
        )
        await self._end_session()

    def ended(self, error: BridgeError | ClientClosedError) -> None:
        """Give up what is left: nothing is delivered any more."""
        self._backlog.end(error)

    def _check_size(self, message: Message) -> None:
        if self._max_payload is not None and message.size > self._max_payload:
            raise too_large(message.size, self._max_payload)

    def _because(self) -> str:
        return f"; the last error: {self._failure}" if self._failure else ""

    def _wake(self) -> None:
        self._thread.post(self._start)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._deliver())
        self._more.set()

    async def _deliver(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            self._connecting = None
            while self._has_work():
                await self._deliver_next()

    def _has_work(self) -> bool:
        is_doubtful = self._session is not None and self._session.window.needs_attention()
        return self._backlog.has_more() or is_doubtful

    async def _deliver_next(self) -> None:
        """Send the next messages. If it is not known what is stored, end the session and wait for a while."""
        started = time.monotonic()
        try:
            await self._delivery.send_next(await self._open_session())
        except Exception as error:  # noqa: BLE001 - whatever it is, delivery goes on with a new session
            self._failed(error, started)
            await self._end_session()
            # An attempt that took its time has been a pause itself.
            await asyncio.sleep(max(started + self._backoff - time.monotonic(), 0))
            self._backoff = min(2 * self._backoff, LONGEST_BACKOFF)

    async def _open_session(self) -> Session:
        """Return the session. A new one first finds out what the last one has stored."""
        if self._session is not None and self._session.client.is_closed:
            raise UnconfirmedError("the connection was closed")
        if self._session is None:
            self._session = await Session.open(self._servers, self._connect_timeout, self._delivery)
            self._sessions += 1
            self._max_payload = self._session.max_payload
            await self._delivery.begin(self._session)
        return self._session

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        self._backlog.rewind()
        if session is not None:
            await session.close()

    def _failed(self, error: Exception, started: float) -> None:
        self._failure = error
        if not isinstance(error, (UnconfirmedError, ClientRefusedError)):
            logger.error("publishing failed; trying again", exc_info=error)
        if self._failing_since is None:
            self._failing_since = started
            what = "lost the connection to" if self._sessions else "cannot connect to"
            logger.warning("%s NATS at %s; trying again (%s)", what, self._servers, error)
        if not self._sessions:
            self._never_connected(error)

    def _never_connected(self, error: Exception) -> None:
        """Fail the callers that wait: if no connection was ever made, a setting is more likely wrong than NATS down."""
        self._connecting = self._connecting or Deadline(self._connect_timeout)
        if isinstance(error, ClientRefusedError):
            self._backlog.fail_all(error)
        elif self._connecting.remaining() <= 0:
            self._connecting = None
            self._backlog.fail_waiting(
                BridgeTimeoutError(
                    f"no NATS server at {self._servers} answered within {self._connect_timeout:g} s{self._because()}"
                )
            )

    def _succeeded(self) -> None:
        if self._failing_since is not None:
            self._longest_pause = max(self._longest_pause, self._pause())
        self._failing_since = self._failure = None
        self._backoff = FIRST_BACKOFF

    def _pause(self) -> float:
        """Return the seconds since delivery began to fail, 0 if it works."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since
