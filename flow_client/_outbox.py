"""The outbox of a bridge: what callers publish, until it is stored, over any outage, each message once and in order."""

from __future__ import annotations

import asyncio
import atexit
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_client._deadline import Deadline
from flow_client._delivery import Delivery
from flow_client._fork import renew_after_fork
from flow_client._log import logger
from flow_client._message_log import Message, MessageLog, undelivered
from flow_client._nats_exchange import DoubtError
from flow_client._nats_session import ClientRefusedError, Session, too_large
from flow_client.errors import BridgeTimeoutError, ClientClosedError, UndeliveredError

if TYPE_CHECKING:
    from flow_client._loop import LoopThread
    from flow_client._servers import Servers

FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 1.0
# For what is left at the interpreter's exit by a bridge that nobody holds any more.
EXIT_TIMEOUT = 10.0

_unfinished: set[Outbox] = set()


@dataclass(frozen=True)
class BridgeStats:
    """What a bridge has published.

    Attributes:
        stored: how many messages JetStream has confirmed.
        unacked: how many it has not.
        resent: how many messages were sent again, because it was in doubt whether they are stored.
        sessions: how many connections were made for publishing; a new one after each doubt.
        longest_pause: the longest time in seconds that delivery stood still, in an outage that goes on too.
    """

    stored: int
    unacked: int
    resent: int
    sessions: int
    longest_pause: float


class Outbox:
    """Publishes from any thread, over a connection of its own.

    Args:
        thread: where the delivery runs.
        servers: where to connect to.
        connect_timeout: seconds for one attempt to connect, and for the first connection.
        publish_timeout: seconds that `store` waits, the first connection not counted.
        max_messages: how many messages may be unacknowledged.
        max_bytes: how many bytes may be.
    """

    def __init__(
        self,
        thread: LoopThread,
        servers: Servers,
        *,
        connect_timeout: float,
        publish_timeout: float,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        self._thread = thread
        self._servers = servers
        self._connect_timeout = connect_timeout
        self._publish_timeout = publish_timeout
        self._log = MessageLog(max_messages, max_bytes, self._wake)
        self._delivery = Delivery(self._log)
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()
        self._max_payload: int | None = None
        self._sessions = 0
        self._connecting: Deadline | None = None
        self._failure: Exception | None = None
        self._failing_since: float | None = None
        self._longest_pause = 0.0
        renew_after_fork(self)

    def after_fork_in_child(self) -> None:
        """Leave it to the parent what is in here."""
        _unfinished.discard(self)

    def push(self, message: Message) -> None:
        """Take a message and return at once; wait only while the outbox is full.

        Raises:
            PayloadTooLargeError: it is too large. It is known from the first connection on what that is.
            UndeliveredError: earlier messages could not be stored. This one was taken.
            ClientClosedError: the outbox is closed.
        """
        self._check_size(message)
        self._log.append(message)
        self._log.raise_failures()

    def store(self, message: Message) -> None:
        """Take a message and return when it and all before it are stored.

        Raises:
            PayloadTooLargeError: it is too large.
            BridgeTimeoutError: it was not confirmed in time. It is not sent again; the error says if it may be stored.
            BridgeError: NATS refused it.
            UndeliveredError: earlier messages could not be stored. This one is.
            ClientClosedError: the outbox is closed.
        """
        self._check_size(message)
        deadline = Deadline(self._publish_timeout + (0 if self._sessions else self._connect_timeout))
        try:
            if self._log.append(message, deadline.seconds):
                message.wait(max(deadline.remaining(), 0))
        finally:
            unsent = not message.settled and self._log.withdraw(message)
        if message.error is not None:
            raise message.error
        if not message.settled:
            outcome = "it was not sent, and will not be" if unsent else "it may be stored"
            raise BridgeTimeoutError(
                f"publishing to {message.subject}: NATS did not confirm it within {deadline.seconds:g} s; "
                f"{outcome}{self._because()}"
            ) from self._failure
        self._log.raise_failures(" before this one, which is")

    def flush(self, timeout: float) -> None:
        """Wait until all is stored.

        Raises:
            UndeliveredError: it is not in time, or messages were given up. What was not given up is still being sent.
        """
        done = self._log.wait_for_all(timeout)
        self._log.raise_failures()
        if not done:
            count = len(self._log)
            raise UndeliveredError(
                f"{count} messages are not stored after {timeout:g} s; they are still being sent{self._because()}",
                undelivered=count,
            ) from self._failure

    def close(self, timeout: float) -> UndeliveredError | None:
        """Take no more, wait until all is stored, give up the rest, and return the error that counts it, if any."""
        self._log.refuse_more()
        try:
            self._log.wait_for_all(timeout)
        finally:
            reason = f"the bridge was closed before NATS confirmed; it may be stored{self._because()}"
            count, cause = self._log.close(ClientClosedError(reason))
        return undelivered(count, cause) if count else None

    def stats(self) -> BridgeStats:
        """Return what was published."""
        stored, resent = self._delivery.stored, self._delivery.resent
        return BridgeStats(stored, len(self._log), resent, self._sessions, max(self._longest_pause, self._pause()))

    def forget(self, subject: str) -> None:
        """Forget the numbers of an execution that is over."""
        self._delivery.forget(subject)

    async def shut_down(self) -> None:
        """End the delivery and its connection."""
        if self._task is not None:
            self._task.cancel()
        await self._end_session()

    def _check_size(self, message: Message) -> None:
        if self._max_payload is not None and message.size > self._max_payload:
            raise too_large(message.size, self._max_payload)

    def _because(self) -> str:
        return f"; the last failure: {self._failure}" if self._failure else ""

    def _wake(self) -> None:
        self._thread.post(self._start)
        _unfinished.add(self)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._thread.keep(self._deliver())
        self._more.set()

    async def _deliver(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            self._connecting = None
            await self._deliver_all()

    async def _deliver_all(self) -> None:
        _unfinished.add(self)
        backoff = FIRST_BACKOFF
        while self._log.has_more():
            started = time.monotonic()
            if await self._delivered(started):
                backoff = FIRST_BACKOFF
            else:
                # An attempt that took its time has been a pause itself.
                await asyncio.sleep(max(started + backoff - time.monotonic(), 0))
                backoff = min(2 * backoff, LONGEST_BACKOFF)
        _unfinished.discard(self)

    async def _delivered(self, started: float) -> bool:
        """Deliver what comes next and return whether there is no doubt about it."""
        try:
            await self._delivery.send_next(await self._open_session())
        except Exception as exc:  # noqa: BLE001 - a doubt whatever it is: to end here would lose all that comes
            self._failed(exc, started)
            await self._end_session()
            return False
        self._succeeded()
        return True

    async def _open_session(self) -> Session:
        """Return the session, a new one after a doubt, in which what the last one left in doubt is cleared up."""
        if self._session is not None and self._session.client.is_closed:
            raise DoubtError("the connection was closed")
        if self._session is None:
            self._session = await Session.open(self._servers, self._connect_timeout)
            self._sessions += 1
            self._max_payload = self._session.max_payload
            await self._delivery.reconcile(self._session)
        return self._session

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _failed(self, error: Exception, started: float) -> None:
        self._failure = error
        if not isinstance(error, (DoubtError, ClientRefusedError)):
            logger.error("publishing failed; trying again", exc_info=error)
        if self._failing_since is None:
            self._failing_since = started
            what = "lost the connection to" if self._sessions else "there is no connection to"
            logger.warning("%s NATS at %s; connecting again (%s)", what, self._servers, error)
        if not self._sessions:
            self._never_connected(error)

    def _never_connected(self, error: Exception) -> None:
        """Tell those that wait: at the first connection it is rather a setting that is wrong than an outage."""
        self._connecting = self._connecting or Deadline(self._connect_timeout)
        if isinstance(error, ClientRefusedError):
            self._log.fail_all(error)
        elif self._connecting.remaining() <= 0:
            self._connecting = None
            self._log.fail_waiting(
                BridgeTimeoutError(
                    f"no NATS server at {self._servers} answered within {self._connect_timeout:g} s{self._because()}"
                )
            )

    def _succeeded(self) -> None:
        self._longest_pause = max(self._longest_pause, self._pause())
        self._failing_since = self._failure = None

    def _pause(self) -> float:
        """Return the seconds since delivery failed, 0 if it does not."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since


def _finish_all() -> None:
    for outbox in list(_unfinished):
        error = outbox.close(EXIT_TIMEOUT)
        if error is not None:
            logger.error("at exit: %s", error)


atexit.register(_finish_all)
