"""The connection to NATS. Only the modules `_nats…` import nats."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from nats import errors as nats_errors
from nats.js import errors as js_errors

from flow_client._core.log import logger
from flow_client._nats.driver import TlsMissingError, new_client
from flow_client._nats.jetstream import WRONG_LAST_SEQUENCE
from flow_client.errors import (
    BridgeError,
    BridgeTimeoutError,
    ClientClosedError,
    PayloadTooLargeError,
    PlatformClientError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from flow_client._core.deadline import Deadline
    from flow_client._nats.servers import Servers

ResultT = TypeVar("ResultT")

ATTEMPT_TIMEOUT = 2.0
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 1.0
RECONNECT_WAIT = 0.25
# A dead peer is noticed after three of them.
PING_INTERVAL = 10
MAX_OUTSTANDING_PINGS = 2
CLOSE_GRACE = 1.0

_MESSAGE_TOO_LARGE = 10054

# All that nats raises.
FOREIGN = (nats_errors.Error, OSError, asyncio.TimeoutError, ValueError)
_FINAL = (nats_errors.MaxPayloadError, nats_errors.BadSubjectError, nats_errors.BadHeaderError, ValueError)


class WrongSequenceError(BridgeError):
    """The last message of the subject is not the one that was expected."""


class Connection:
    """One connection to a NATS server or cluster, opened at first use and again whenever it was lost for good.

    Everything here runs in one event loop.

    Args:
        servers: where to connect to.
        connect_timeout: seconds for opening it.
    """

    def __init__(self, servers: Servers, connect_timeout: float) -> None:
        self._servers = servers
        self._connect_timeout = connect_timeout
        self._client: Client | None = None
        self._closing = False
        self._opening = asyncio.Lock()
        self._online = asyncio.Event()
        self._stands = False
        self._refusal: asyncio.Future[None] | None = None
        self._last_error: Exception | None = None
        self._without_tls: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.closers: set[Callable[[], Coroutine[Any, Any, None]]] = set()
        """What is left on the server; `close` awaits each of them before it ends the connection."""
        self.generation = 0
        """How often the connection was made: what was under way before it changed may be lost."""

    async def attempt(
        self,
        operation: Callable[[JetStreamContext], Awaitable[ResultT]],
        doing: str,
        deadline: Deadline,
        *,
        each: float = ATTEMPT_TIMEOUT,
    ) -> ResultT:
        """Await `operation`, again and again until it succeeds, fails for good or the deadline passes.

        Args:
            operation: what is done with JetStream; it may be done more than once.
            doing: what that is, for messages.
            deadline: when to give up.
            each: seconds for one attempt.

        Raises:
            BridgeError: NATS refused.
            BridgeTimeoutError: it did not succeed until the deadline; it may have been done.
        """
        backoff, failure = FIRST_BACKOFF, None
        while deadline.remaining() > 0:
            try:
                js = await self.jetstream(deadline)
                return await bounded(operation(js), min(each, max(deadline.remaining(), 0)))
            except PlatformClientError:
                raise
            except FOREIGN as exc:
                if not _passes(exc):
                    raise bridge_error(exc, doing) from exc
                failure = exc
            await asyncio.sleep(min(backoff, max(deadline.remaining(), 0)))
            backoff = min(2 * backoff, LONGEST_BACKOFF)
        raise BridgeTimeoutError(
            f"{doing}: NATS did not confirm it within {deadline.seconds:g} s{self._because(failure)}"
        ) from failure

    async def jetstream(self, deadline: Deadline) -> JetStreamContext:
        """Return JetStream once the connection stands; `client` says what is raised."""
        return (await self.client(deadline)).jetstream(timeout=ATTEMPT_TIMEOUT)

    async def client(self, deadline: Deadline) -> Client:
        """Return the client of nats once the connection stands.

        Raises:
            BridgeError: the server refuses the client.
            BridgeTimeoutError: no server answered within the time for connecting.
            ClientClosedError: it was closed for good.
        """
        async with self._opening:
            if self._closing:
                raise ClientClosedError("the bridge is closed")
            if self._client is None or self._client.is_closed:
                self._client = await self._open()
            client = self._client
        # What is published to a lost connection seems to succeed.
        await asyncio.wait_for(self._online.wait(), max(deadline.remaining(), 0))
        return client

    @property
    def online(self) -> bool:
        """Whether the connection stands, as far as is known. Any thread may ask."""
        return self._stands

    @property
    def last_error(self) -> str:
        """What nats last complained of, empty if it did not."""
        return str(self._last_error or "")

    @property
    def max_payload(self) -> int:
        """The server's limit for a message in bytes, headers included; 0 while there is no connection."""
        return self._client.max_payload if self._client else 0

    async def request(self, subject: str, payload: bytes) -> None:
        """Send a request and await its answer, once."""
        if self._client is None:
            raise nats_errors.ConnectionClosedError
        await self._client.request(subject, payload, timeout=ATTEMPT_TIMEOUT)

    async def close(self, timeout: float) -> None:
        """Close for good, leaving nothing on the server, not waiting for more than twice `timeout` seconds."""
        await self._leave(timeout)
        self._closing = True
        client, self._client = self._client, None
        if client is not None:
            await close_client(client, timeout)

    def in_background(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `function()`, which raises nothing, as a task of its own; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(function())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _leave(self, timeout: float) -> None:
        for closer in self.closers:
            self.in_background(closer)
        if self._stands and self._background:
            await asyncio.wait(self._background, timeout=timeout)
        for task in list(self._background):
            task.cancel()

    async def _open(self) -> Client:
        client = new_client(self._servers)
        self._without_tls.clear()
        self._refusal = asyncio.get_running_loop().create_future()
        opening = asyncio.ensure_future(client.connect(**self._options()))
        try:
            # nats itself tries for minutes, and for ever with credentials that are refused.
            await asyncio.wait(
                {opening, self._refusal}, timeout=self._connect_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            connected = opening.done()
            if not connected:
                await _abandon(client, opening)
        if not connected:
            raise self._not_connected()
        await opening
        self._set_online()
        return client

    def _options(self) -> dict[str, Any]:
        return {
            "servers": list(self._servers.urls),
            **self._servers.login(),
            "name": "flow-client",
            "connect_timeout": self._connect_timeout,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_WAIT,
            "ping_interval": PING_INTERVAL,
            "max_outstanding_pings": MAX_OUTSTANDING_PINGS,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnect,
            "reconnected_cb": self._on_reconnect,
            "closed_cb": self._on_closed,
        }

    def _not_connected(self) -> BridgeError:
        if self._refusal is not None and self._refusal.done():
            if isinstance(self._last_error, TlsMissingError):
                return BridgeError(f"cannot connect to NATS: {self._last_error}")
            return BridgeError(f"NATS at {self._servers} refuses the client{self._because()}")
        return BridgeTimeoutError(
            f"no NATS server at {self._servers} answered within {self._connect_timeout:g} s{self._because()}"
        )

    def _because(self, failure: Exception | None = None) -> str:
        cause = str(failure or "") or str(self._last_error or "")
        return f"; the last failure: {cause}" if cause else ""

    async def _on_error(self, error: Exception) -> None:
        self._last_error = error
        logger.debug("NATS: %s", error or type(error).__name__)
        if self._is_final(error) and self._refusal and not self._refusal.done():
            self._refusal.set_result(None)

    def _is_final(self, error: Exception) -> bool:
        """Return whether there is no use in trying the other servers, or none of them speaks TLS."""
        if isinstance(error, TlsMissingError):
            self._without_tls.add(error.server)
            return len(self._without_tls) >= len(self._servers.urls)
        return "authorization violation" in str(error).lower()

    async def _on_disconnect(self) -> None:
        # An attempt to connect that is given up is no connection that was lost.
        if self._stands and not self._closing:
            logger.warning("lost the connection to NATS at %s; connecting again", self._servers)
        self._stands = False
        self._online.clear()

    async def _on_reconnect(self) -> None:
        logger.info("connected to NATS at %s again", self._servers)
        self._set_online()

    def _set_online(self) -> None:
        self.generation += 1
        self._stands = True
        self._online.set()

    async def _on_closed(self) -> None:
        # Whoever waits for the connection finds that it is closed, and opens another.
        self._online.set()


def bridge_error(error: Exception, doing: str) -> BridgeError:
    """Return the error of ours that says what `error` means for `doing`."""
    code = getattr(error, "err_code", None)
    if isinstance(error, nats_errors.MaxPayloadError) or code == _MESSAGE_TOO_LARGE:
        return PayloadTooLargeError(f"{doing}: the message is too large for NATS ({error})")
    if code in WRONG_LAST_SEQUENCE:
        return WrongSequenceError(f"{doing}: {error}")
    if isinstance(error, asyncio.TimeoutError):
        return BridgeTimeoutError(f"{doing}: NATS did not answer in time")
    return BridgeError(f"{doing}: {getattr(error, 'description', None) or error or type(error).__name__}")


async def bounded(operation: Awaitable[ResultT], timeout: float) -> ResultT:
    """Do what `wait_for` does, but neither wait for nats to heed the cancelling nor leave its last error unread."""
    task = asyncio.ensure_future(operation)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if task.cancelled():
            raise nats_errors.ConnectionClosedError  # nats cancels what is under way when it closes
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        task.add_done_callback(read_error)
        task.cancel()


async def without_foreign_errors(function: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
    """Return what `function(*args)` returns; raise an error of ours where it raises one of nats or asyncio."""
    try:
        return await function(*args)
    except PlatformClientError:
        raise
    except FOREIGN as error:
        raise bridge_error(error, "talking to NATS") from error


def read_error(task: asyncio.Future[Any]) -> None:
    """Take the task's error, which asyncio would print if nobody did."""
    if not task.cancelled():
        task.exception()


def _passes(error: Exception) -> bool:
    """Return whether it may be different next time: an election, a restart, a lost connection."""
    if isinstance(error, js_errors.APIError):
        return isinstance(error, js_errors.ServiceUnavailableError)
    return not isinstance(error, _FINAL)


async def _abandon(client: Client, opening: asyncio.Future[None]) -> None:
    opening.cancel()
    try:
        await asyncio.wait({opening}, timeout=CLOSE_GRACE)
    finally:  # a bridge that is closed meanwhile cancels this too
        await close_client(client, CLOSE_GRACE)


async def close_client(client: Client, timeout: float) -> None:
    """Close the client, not waiting for more than `timeout` seconds. What was not sent yet is dropped."""
    # nats-py would send it on its way out, to whatever server it is about to connect to.
    client._pending.clear()  # noqa: SLF001
    client._pending_data_size = 0  # noqa: SLF001
    try:
        # Not drain(): it raises while reconnecting, and leaves the client open on a server that hangs.
        await asyncio.wait_for(client.close(), timeout)
    except FOREIGN as exc:
        logger.warning("the connection to NATS was not closed in good order: %s", str(exc) or type(exc).__name__)
    finally:
        # nats-py leaves them running when the connection is lost while it closes it.
        for subscription in list(client._subs.values()):  # noqa: SLF001
            subscription._stop_processing()  # noqa: SLF001
