"""Hints that an execution has finished, from what is announced over NATS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from flow_client._api._generated import operations
from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.driver import read_error
from flow_client._nats.errors import NATS_ERRORS, text_of
from flow_client._nats.payloads import is_terminal_status
from flow_client.errors import BridgeError, ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from flow_client._nats.connection import Connection
    from flow_client._nats.loop import LoopThread

    Tell = Callable[[str], None]

SUBJECTS = (operations.EXECUTION_STATUS_UPDATE_SUBJECT, operations.EXECUTION_OUTPUT_SUBJECT)
PREFIXES = tuple(subject.format(execution_id="") for subject in SUBJECTS)
RECORD_DELAY = 0.05
"""Seconds from an output to its hint: the platform needs a moment to make its record from the output."""
CONNECT_TIMEOUT = 10.0
FLUSH_TIMEOUT = 5
RETRY_PAUSE = 10.0
CHECK_INTERVAL = 5.0
"""Seconds within which the listener notices that a connection was closed for good."""


class NatsCompletionHints:
    """Reports executions whose end is announced over NATS, by a terminal status or an output.

    It subscribes to the two subjects of each execution that somebody waits for, and to no others: messages of other
    executions never arrive here, and the server stores nothing for it. It guarantees nothing: an announcement before
    the subscription is made, or during an outage, is missed.

    Any thread but the loop's may call it. It raises nothing.

    Args:
        thread: the loop that listens.
        connection: the connection; it is opened for the first execution.
    """

    def __init__(self, thread: LoopThread, connection: Connection) -> None:
        self._thread = thread
        self._connection = connection
        self._expected: dict[str, list[Tell]] = {}
        self._listener: _Listener | None = None
        self._log = _Log()

    @property
    def live(self) -> bool:
        """Whether it is listening, as far as is known."""
        return self._connection.online and bool(self.subscribed)

    @property
    def subscribed(self) -> frozenset[str]:
        """The executions whose announcements arrive here, as far as is known."""
        listener = self._listener
        return frozenset() if listener is None else listener.subscribed

    def expect(self, execution_id: str, tell: Tell) -> None:
        """Call `tell(execution_id)` in the loop's thread at each hint, until `drop`."""
        self._post(partial(self._expect, execution_id, tell))

    def drop(self, execution_id: str, tell: Tell) -> None:
        """Undo one `expect`."""
        self._post(partial(self._drop, execution_id, tell))

    def _post(self, callback: Callable[[], None]) -> None:
        if not self._log.given_up:
            try:
                self._thread.post(callback)
            except PlatformClientError as error:
                self._log.give_up(error)

    def _expect(self, execution_id: str, tell: Tell) -> None:
        self._expected.setdefault(execution_id, []).append(tell)
        if self._listener is None:
            self._listener = _Listener(self._connection, self._expected, self._log)
        self._listener.changes.put_nowait(execution_id)

    def _drop(self, execution_id: str, tell: Tell) -> None:
        tells = self._expected.get(execution_id, [])
        with suppress(ValueError):
            tells.remove(tell)
        if not tells:
            self._expected.pop(execution_id, None)
        if self._listener is not None:
            self._listener.changes.put_nowait(execution_id)
            if not self._expected:
                self._listener.stop()
                self._listener = None


class _Log:
    """Logs once for each outage that there are no hints.

    Attributes:
        given_up: whether there will never be hints again.
    """

    def __init__(self) -> None:
        self._has_complained = False
        self.given_up = False

    def complain(self, error: Exception | None) -> None:
        """Log what is wrong, once until it is over; None says that it is over."""
        if error is not None and not self._has_complained:
            logger.warning(
                "cannot listen for finished executions over NATS; futures fall back to HTTP polling: %s",
                text_of(error),
            )
        self._has_complained = error is not None

    def give_up(self, error: Exception) -> None:
        self.given_up = True
        if not isinstance(error, ClientClosedError):
            self.complain(error)


class _Listener:
    """Listens, across outages, for as long as somebody waits for an execution.

    Attributes:
        changes: executions for which somebody has begun or ceased to wait.
        subscribed: executions whose announcements arrive here.
    """

    def __init__(self, connection: Connection, expected: dict[str, list[Tell]], log: _Log) -> None:
        self._connection = connection
        self._expected = expected
        self._log = log
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._update_under_way: asyncio.Future[None] | None = None
        self._task = asyncio.ensure_future(self._run())
        self.changes: asyncio.Queue[str] = asyncio.Queue()

    @property
    def subscribed(self) -> frozenset[str]:
        return frozenset(self._subscriptions)

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while not self._log.given_up:
                await self._try_to_listen()
        finally:
            if self._update_under_way is not None:
                await asyncio.wait({self._update_under_way})
            await self._unsubscribe_all()

    async def _try_to_listen(self) -> None:
        try:
            await self._listen()
        except (_DeniedError, ClientClosedError) as error:
            self._log.give_up(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, no future may fail because of it
            self._log.complain(error)
            await asyncio.sleep(RETRY_PAUSE)

    async def _listen(self) -> None:
        """Keep the subscriptions in step with `expected` until the connection is closed for good."""
        client = await self._connection.client(Deadline(CONNECT_TIMEOUT))
        await self._unsubscribe_all()
        await self._update_whole(client, self._differences())
        await client.flush(FLUSH_TIMEOUT)
        self._log.complain(None)
        while not client.is_closed:
            self._check_allowed()
            await self._update_whole(client, await self._changed())

    async def _changed(self) -> Iterable[str]:
        try:
            return [await asyncio.wait_for(self.changes.get(), CHECK_INTERVAL)]
        except asyncio.TimeoutError:
            return self._differences()

    def _differences(self) -> Iterable[str]:
        return self._expected.keys() ^ self._subscriptions.keys()

    async def _update_whole(self, client: Client, execution_ids: Iterable[str]) -> None:
        # Cancelling it midway would leave subscriptions that only nats-py knows.
        self._update_under_way = asyncio.ensure_future(self._update(client, execution_ids))
        self._update_under_way.add_done_callback(read_error)
        await asyncio.shield(self._update_under_way)

    async def _update(self, client: Client, execution_ids: Iterable[str]) -> None:
        for execution_id in execution_ids:
            if execution_id not in self._expected:
                await self._unsubscribe(execution_id)
            elif execution_id not in self._subscriptions:
                await asyncio.sleep(0)  # lets the loop do other work between a thousand of them
                self._subscriptions[execution_id] = [
                    await client.subscribe(subject.format(execution_id=execution_id), cb=self._hear)
                    for subject in SUBJECTS
                ]

    async def _unsubscribe_all(self) -> None:
        for execution_id in list(self._subscriptions):
            await self._unsubscribe(execution_id)

    async def _unsubscribe(self, execution_id: str) -> None:
        for subscription in self._subscriptions.pop(execution_id, ()):
            with suppress(*NATS_ERRORS):  # it may have ended with its connection
                await subscription.unsubscribe()

    def _check_allowed(self) -> None:
        error = self._connection.last_error.lower()
        if error.partition('"')[2].startswith(PREFIXES) and "permissions violation" in error:
            raise _DeniedError(error)

    async def _hear(self, message: Msg) -> None:
        kind, _, execution_id = message.subject.rpartition(".")
        if f"{kind}." == PREFIXES[1]:
            asyncio.get_running_loop().call_later(RECORD_DELAY, self._tell, execution_id)
        elif _is_terminal(message.data):
            self._tell(execution_id)

    def _tell(self, execution_id: str) -> None:
        for tell in self._expected.get(execution_id, ()):
            tell(execution_id)


class _DeniedError(BridgeError):
    """NATS does not allow us to subscribe."""


def _is_terminal(payload: bytes) -> bool:
    try:
        return is_terminal_status(payload)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
