"""What goes on in a bridge's background thread: its connection, inputs, outbox and hints."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.exit import close_at_exit, close_together, exit_has_begun, no_longer_open
from flow_client._core.log import logger
from flow_client._nats.connection import CLOSE_GRACE, Connection
from flow_client._nats.hints import Hints
from flow_client._nats.inputs import Inputs
from flow_client._nats.loop import LoopThread
from flow_client._nats.outbox.outbox import Outbox
from flow_client.errors import ClientClosedError, PlatformClientError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._nats.servers import Servers
    from flow_client.errors import BridgeError

CLOSING_THREAD_NAME = "flow-client-nats-close"
GRACE = 1.0
"""Seconds added to a wait for the loop: what runs there keeps its own deadline, and the wait is a last resort."""


@dataclass(frozen=True)
class BridgeSettings:
    """The settings of a bridge; durations are in seconds."""

    connect_timeout: float
    close_timeout: float
    publish_timeout: float
    max_unacked: int
    max_unacked_bytes: int


class BridgeRuntime:
    """The running parts of a bridge. They know nothing of the bridge, and outlive one that was dropped unclosed.

    Args:
        servers: the NATS servers.
        settings: the bridge's settings.
    """

    def __init__(self, servers: Servers, settings: BridgeSettings) -> None:
        self.thread = LoopThread(self)
        self.connection = Connection(servers, settings.connect_timeout)
        self.inputs = Inputs(self.connection)
        self.outbox = Outbox(
            self.thread,
            servers,
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
        deadline = Deadline(self._close_timeout + GRACE)
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
