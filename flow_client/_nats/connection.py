"""The connection for everything but publishing: opened at first use, and again whenever it was lost for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from nats import errors as nats_errors

from flow_client._core.log import logger
from flow_client._nats.driver import CLOSE_TIMEOUT, TlsMissingError, bounded, close_client, new_client
from flow_client._nats.errors import NATS_ERRORS, bridge_error, is_refused_login, is_transient, text_of
from flow_client.errors import BridgeError, BridgeTimeoutError, ClientClosedError, PlatformClientError

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
PING_INTERVAL = 10
"""Seconds between two pings; a dead server is noticed after three of them."""
MAX_OUTSTANDING_PINGS = 2


class Connection:
    """One connection to a NATS server or cluster. Everything here runs in one event loop.

    Args:
        servers: the servers to connect to.
        connect_timeout: seconds for opening the connection.
    """

    def __init__(self, servers: Servers, connect_timeout: float) -> None:
        self._servers = servers
        self._connect_timeout = connect_timeout
        self._client: Client | None = None
        self._closing = False
        self._opening = asyncio.Lock()
        self._online = asyncio.Event()
        self._is_online = False
        self._refusal: asyncio.Future[None] | None = None
        self._last_error: Exception | None = None
        self._without_tls: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.closers: set[Callable[[], Coroutine[Any, Any, None]]] = set()
        """They remove what is left on the server; `close` awaits each of them before it ends the connection."""
        self.generation: int = 0
        """How often the connection was made. What was under way when this number changed may be lost."""

    async def attempt(
        self,
        operation: Callable[[JetStreamContext], Awaitable[ResultT]],
        doing: str,
        deadline: Deadline,
        *,
        each: float = ATTEMPT_TIMEOUT,
    ) -> ResultT:
        """Repeat `operation` until it succeeds, fails for good or the deadline passes.

        Args:
            operation: what to do with JetStream; it may be done more than once.
            doing: what that is, for error messages.
            deadline: when to give up.
            each: seconds for one attempt.

        Raises:
            BridgeError: NATS refused.
            BridgeTimeoutError: no attempt succeeded before the deadline; one of them may still have taken effect.
        """
        backoff, failure = FIRST_BACKOFF, None
        while deadline.remaining() > 0:
            try:
                js = await self.jetstream(deadline)
                return await bounded(operation(js), min(each, max(deadline.remaining(), 0)))
            except PlatformClientError:
                raise
            except NATS_ERRORS as error:
                if not is_transient(error):
                    raise bridge_error(error, doing) from error
                failure = error
            await asyncio.sleep(min(backoff, max(deadline.remaining(), 0)))
            backoff = min(2 * backoff, LONGEST_BACKOFF)
        raise BridgeTimeoutError(
            f"{doing}: NATS did not confirm it within {deadline.seconds:g} s{self._because(failure)}"
        ) from failure

    async def jetstream(self, deadline: Deadline) -> JetStreamContext:
        """Return JetStream once the connection is up; it raises what `client` raises."""
        return (await self.client(deadline)).jetstream(timeout=ATTEMPT_TIMEOUT)

    async def client(self, deadline: Deadline) -> Client:
        """Return nats-py's client once the connection is up.

        Raises:
            BridgeError: the server refused the client.
            BridgeTimeoutError: no server answered in the time for connecting.
            ClientClosedError: the bridge is closed.
        """
        async with self._opening:
            if self._closing:
                raise ClientClosedError("the bridge is closed")
            if self._client is None or self._client.is_closed:
                self._client = await self._open()
            client = self._client
        # Publishing to a lost connection seems to succeed.
        await asyncio.wait_for(self._online.wait(), max(deadline.remaining(), 0))
        return client

    @property
    def online(self) -> bool:
        """Whether the connection is up, as far as is known. Any thread may ask."""
        return self._is_online

    @property
    def last_error(self) -> str:
        """The last error that nats-py reported, empty if there was none."""
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

    async def close(self) -> None:
        """Close for good and leave nothing on the server, in twice `CLOSE_TIMEOUT` seconds at most."""
        await self._run_closers()
        self._closing = True
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    def in_background(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `function()`, which raises nothing, as a task of its own; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(function())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _run_closers(self) -> None:
        for closer in self.closers:
            self.in_background(closer)
        if self._is_online and self._background:
            await asyncio.wait(self._background, timeout=CLOSE_TIMEOUT)
        for task in list(self._background):
            task.cancel()

    async def _open(self) -> Client:
        client = new_client(self._servers)
        self._without_tls.clear()
        self._refusal = asyncio.get_running_loop().create_future()
        opening = asyncio.ensure_future(client.connect(**self._options()))
        try:
            # nats-py itself tries for minutes, and for ever if the credentials are refused.
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
            return BridgeError(f"NATS at {self._servers} refused the client{self._because()}")
        return BridgeTimeoutError(
            f"no NATS server at {self._servers} answered within {self._connect_timeout:g} s{self._because()}"
        )

    def _because(self, failure: Exception | None = None) -> str:
        cause = str(failure or "") or str(self._last_error or "")
        return f"; the last failure: {cause}" if cause else ""

    async def _on_error(self, error: Exception) -> None:
        self._last_error = error
        logger.debug("NATS: %s", text_of(error))
        if self._is_final(error) and self._refusal and not self._refusal.done():
            self._refusal.set_result(None)

    def _is_final(self, error: Exception) -> bool:
        """Return whether trying the other servers is no use, or none of them speaks TLS."""
        if isinstance(error, TlsMissingError):
            self._without_tls.add(error.server)
            return len(self._without_tls) >= len(self._servers.urls)
        return is_refused_login(error)

    async def _on_disconnect(self) -> None:
        # Giving up an attempt to connect is not losing a connection.
        if self._is_online and not self._closing:
            logger.warning("lost the connection to NATS at %s; reconnecting", self._servers)
        self._is_online = False
        self._online.clear()

    async def _on_reconnect(self) -> None:
        logger.info("reconnected to NATS at %s", self._servers)
        self._set_online()

    def _set_online(self) -> None:
        self.generation += 1
        self._is_online = True
        self._online.set()

    async def _on_closed(self) -> None:
        # Those who wait for the connection find it closed and open another.
        self._online.set()


async def _abandon(client: Client, opening: asyncio.Future[None]) -> None:
    opening.cancel()
    try:
        await asyncio.wait({opening}, timeout=CLOSE_TIMEOUT)
    finally:  # closing the bridge in the meantime cancels this too
        await close_client(client)
