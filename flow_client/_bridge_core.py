"""What a bridge consists of, and how it begins and ends."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from flow_client._checks import seconds, whole_number
from flow_client._fork import never_finalise, renew_after_fork
from flow_client._hints import Hints
from flow_client._log import logger
from flow_client._loop import LoopThread
from flow_client._nats import CLOSE_GRACE, Connection
from flow_client._outbox import BridgeStats, Outbox
from flow_client._servers import resolve_servers
from flow_client._taking import Taking
from flow_client.errors import ClientClosedError, ConfigurationError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from typing_extensions import Self

ResultT = TypeVar("ResultT")

DEFAULT_CONNECT_TIMEOUT = 10.0
DEFAULT_CLOSE_TIMEOUT = 10.0
DEFAULT_PUBLISH_TIMEOUT = 60.0
DEFAULT_MAX_UNACKED = 8192
DEFAULT_MAX_UNACKED_BYTES = 32 * 1024 * 1024
# Every coroutine keeps its own deadline; the wait for it is only the last resort.
_GRACE = 1.0

_open_bridges: WeakSet[BridgeCore] = WeakSet()


class BridgeCore:
    """Everything of a bridge but what is said through it."""

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
        self._connect_timeout = seconds(connect_timeout, "connect_timeout", ConfigurationError)
        self._close_timeout = seconds(close_timeout, "close_timeout", ConfigurationError)
        self._publish_timeout = seconds(publish_timeout, "publish_timeout", ConfigurationError)
        self._max_unacked = whole_number(max_unacked, "max_unacked")
        self._max_unacked_bytes = whole_number(max_unacked_bytes, "max_unacked_bytes")
        self._closed = False
        self._begin()
        renew_after_fork(self)
        _open_bridges.add(self)

    def _begin(self) -> None:
        self._thread = LoopThread()
        self._connection = Connection(self._servers, self._connect_timeout)
        self._outbox = Outbox(
            *(self._thread, self._servers),
            connect_timeout=self._connect_timeout,
            publish_timeout=self._publish_timeout,
            max_messages=self._max_unacked,
            max_bytes=self._max_unacked_bytes,
        )
        self._taking = Taking(self._connection, self._outbox, self._run)
        self._hints = Hints(self._thread, self._connection)

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread does not run here, its connection and what it has to send are not ours."""
        never_finalise((self._outbox, self._connection, self._taking, self._hints))
        self._begin()

    def flush(self, timeout: float | None = None) -> None:
        """Return when everything that was pushed before is stored.

        Args:
            timeout: seconds to wait; `publish_timeout` if None.

        Raises:
            InvalidRequestError: `timeout` is not valid.
            UndeliveredError: it is not stored in time, and is still being sent; or some can never be stored.
        """
        self._outbox.flush(self._publish_timeout if timeout is None else seconds(timeout, "timeout"))

    def stats(self) -> BridgeStats:
        """Return how much is stored and on its way, and what outages there were."""
        return self._outbox.stats()

    def close(self) -> None:
        """Wait until everything is stored, `close_timeout` at most, and end connection and thread. Can be called twice.

        Calls of other threads end with `ClientClosedError`. An input that was fetched with `ack="on_done"` and has no
        output yet stays in the work queue. In a `with` block that ends with an exception, what would be raised is
        logged.

        Raises:
            UndeliveredError: messages were given up; `undelivered` says how many.
        """
        if self._closed:
            return
        self._closed = True
        _open_bridges.discard(self)
        try:
            failure = self._outbox.close(self._close_timeout)
        finally:
            if not self._thread.stop(self._close_timeout + _GRACE, self._disconnect):
                logger.warning("the bridge's thread did not end within %g s", self._close_timeout + _GRACE)
        if failure is not None:
            raise failure

    def close_quietly(self, when: str) -> None:
        """Close, and log what `close` would raise."""
        try:
            self.close()
        except UndeliveredError as exc:
            logger.error("%s: %s", when, exc)

    async def _disconnect(self) -> None:
        self._taking.release()
        await self._outbox.shut_down()
        await self._connection.close(CLOSE_GRACE)

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

    def _run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, limit: float) -> ResultT:
        if self._closed:
            raise ClientClosedError("the bridge is closed")
        return self._thread.run(function, *args, timeout=limit + self._connect_timeout + _GRACE)


def _close_all() -> None:
    for bridge in list(_open_bridges):
        bridge.close_quietly("at exit")


atexit.register(_close_all)
