"""What a bridge consists of, and how it begins and ends."""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flow_client._core.checks import seconds, whole_number
from flow_client._core.deadline import Deadline
from flow_client._core.exit import close_at_exit, close_together, exit_has_begun, no_longer_open
from flow_client._core.fork import never_finalise, renew_after_fork
from flow_client._core.log import logger
from flow_client._nats.connection import CLOSE_GRACE, Connection, without_foreign_errors
from flow_client._nats.hints import Hints
from flow_client._nats.inputs import Inputs
from flow_client._nats.loop import LoopThread
from flow_client._nats.outbox.outbox import BridgeStats, Outbox
from flow_client._nats.servers import resolve_servers
from flow_client._taking import Taking
from flow_client.errors import ClientClosedError, ConfigurationError, PlatformClientError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from flow_client._nats.servers import Servers
    from flow_client.errors import BridgeError

ResultT = TypeVar("ResultT")

DEFAULT_CONNECT_TIMEOUT = 10.0
DEFAULT_CLOSE_TIMEOUT = 10.0
DEFAULT_PUBLISH_TIMEOUT = 60.0
DEFAULT_MAX_UNACKED = 8192
DEFAULT_MAX_UNACKED_BYTES = 32 * 1024 * 1024
CLOSING_THREAD_NAME = "flow-client-nats-close"
# Every coroutine keeps its own deadline; the wait for it is only the last resort.
_GRACE = 1.0


@dataclass(frozen=True)
class Settings:
    """What a bridge was given; durations are in seconds."""

    connect_timeout: float
    close_timeout: float
    publish_timeout: float
    max_unacked: int
    max_unacked_bytes: int


class Works:
    """What goes on in a bridge's loop. It knows nothing of the bridge, and outlives one that was dropped unclosed.

    Args:
        servers: where NATS is.
        settings: the bridge's.
    """

    def __init__(self, servers: Servers, settings: Settings) -> None:
        self.thread = LoopThread(self)
        self.connection = Connection(servers, settings.connect_timeout)
        self.inputs = Inputs(self.connection)
        self.outbox = Outbox(
            *(self.thread, servers),
            connect_timeout=settings.connect_timeout,
            publish_timeout=settings.publish_timeout,
            close_timeout=settings.close_timeout,
            max_messages=settings.max_unacked,
            max_bytes=settings.max_unacked_bytes,
        )
        self.hints = Hints(self.thread, self.connection)
        self._close_timeout = settings.close_timeout

    def started(self) -> None:
        """Take note that the loop runs: from now on there is something to close."""
        close_at_exit(self)

    def look(self) -> None:
        """Look for work that the loop was not woken for."""
        self.outbox.look()

    async def shut_down(self) -> None:
        """End what goes on, and the connections."""
        self.inputs.release()
        await self.outbox.shut_down()
        await self.connection.close(CLOSE_GRACE)

    def ended(self, error: BridgeError | ClientClosedError) -> None:
        """Fail what still waits."""
        self.outbox.ended(error)

    def closing(self) -> Iterator[None]:
        """Close everything in steps. An interrupt gives nothing up: what is left is still delivered."""
        yield from self.outbox.closing()
        self.thread.begin_stop()
        deadline = Deadline(self._close_timeout + _GRACE)
        yield
        if not self.thread.stop(deadline.remaining()):
            logger.warning("the bridge's thread did not end within %g s", deadline.seconds)
        no_longer_open(self)

    def close_in_background(self) -> None:
        """Close everything in a thread of its own, and log what is given up.

        A finaliser may call it, in any thread and amid anything else: it takes no lock, waits for nothing and raises
        nothing.
        """
        with suppress(PlatformClientError):  # the loop has ended meanwhile
            self.thread.post(self._start_closing)

    def _start_closing(self) -> None:
        threading.Thread(target=self._close, name=CLOSING_THREAD_NAME, daemon=True).start()

    def _close(self) -> None:
        close_together([self])
        close_at_exit(self)
        if exit_has_begun():  # it would end this thread before it has said anything
            return
        failure = self.take_failures()
        no_longer_open(self)
        if failure is not None:
            logger.error("a bridge was dropped without close(): %s", failure)

    def take_failures(self) -> UndeliveredError | None:
        """Return an error that counts what was given up and told to nobody, if anything was."""
        return self.outbox.take_failures()


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
        self._settings = Settings(
            seconds(connect_timeout, "connect_timeout", ConfigurationError),
            seconds(close_timeout, "close_timeout", ConfigurationError),
            seconds(publish_timeout, "publish_timeout", ConfigurationError),
            whole_number(max_unacked, "max_unacked"),
            whole_number(max_unacked_bytes, "max_unacked_bytes"),
        )
        self._closed = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._works = works = Works(self._servers, self._settings)
        self._thread, self._connection, self._hints = works.thread, works.connection, works.hints
        self._outbox = works.outbox
        self._taking = Taking(works.inputs, works.outbox, self._run)

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread does not run here, its connection and what it has to send are not ours."""
        never_finalise((self._works, self._taking))
        self._begin()

    def flush(self, timeout: float | None = None) -> None:
        """Return when everything that was pushed before is stored.

        Args:
            timeout: seconds to wait; `publish_timeout` if None.

        Raises:
            InvalidRequestError: `timeout` is not valid.
            UndeliveredError: it is not stored in time, and is still being sent; or some can never be stored.
        """
        self._outbox.flush(self._settings.publish_timeout if timeout is None else seconds(timeout, "timeout"))

    def stats(self) -> BridgeStats:
        """Return how much is stored and on its way, and what outages there were."""
        return self._outbox.stats()

    def close(self) -> None:
        """Wait until everything is stored, `close_timeout` at most, and end connection and thread. Can be called twice.

        Calls of other threads end with `ClientClosedError`. An input that was fetched with `ack="on_done"` and has no
        output yet stays in the work queue. In a `with` block that ends with an exception, what would be raised is
        logged. An interrupt, such as Ctrl-C, gives nothing up: call it again, or leave it to the interpreter's exit.

        Raises:
            UndeliveredError: messages were given up; `undelivered` says how many.
        """
        if self._closed and self._thread.ended:
            return
        self._closed = True
        close_together([self._works])
        failure = self._works.take_failures()
        if failure is not None:
            raise failure

    def close_quietly(self, when: str) -> None:
        """Close, and log what `close` would raise."""
        try:
            self.close()
        except UndeliveredError as exc:
            logger.error("%s: %s", when, exc)

    def __del__(self) -> None:
        works: Works | None = getattr(self, "_works", None)  # there is none if a setting was refused
        if works is not None and works.thread.running:
            works.close_in_background()
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

    def _run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, limit: float) -> ResultT:
        if self._closed:
            raise ClientClosedError("the bridge is closed")
        timeout = limit + self._settings.connect_timeout + _GRACE
        result: ResultT = self._thread.run(without_foreign_errors, function, *args, timeout=timeout)
        return result
