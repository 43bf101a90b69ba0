"""What goes on in a bridge's background thread: its connection, inputs, outbox and hints."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.lifecycle import close_at_exit, close_together, is_exiting, no_longer_open
from flow_client._core.log import logger
from flow_client._nats.connection import Connection
from flow_client._nats.hints import NatsCompletionHints
from flow_client._nats.inputs import Inputs
from flow_client._nats.loop import LoopThread
from flow_client._nats.outbox import Outbox
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
        self.hints = NatsCompletionHints(self.thread, self.connection)
        self._close_timeout = settings.close_timeout

    def started(self) -> None:
        """Note that the loop is running: from now on there is something to close."""
        close_at_exit(self)

    def tick(self) -> None:
        """Look for messages for which the loop was not woken."""
        self.outbox.tick()

    async def shut_down(self) -> None:
        """End all work and close the connections."""
        self.inputs.release()
        await self.outbox.shut_down()
        await self.connection.close()

    def ended(self, error: BridgeError | ClientClosedError) -> None:
        """Fail everything that still waits."""
        self.outbox.ended(error)

    def closing(self) -> Iterator[None]:
        """Close everything in steps. After an interrupt nothing is given up: delivery goes on."""
        yield from self.outbox.closing()
        self.thread.begin_stop()
        deadline = Deadline(self._close_timeout + GRACE)
        yield
        if not self.thread.stop(deadline.remaining()):
            logger.warning("the bridge's thread did not end within %g s", deadline.seconds)
        no_longer_open(self)

    def close_in_background(self) -> None:
        """Close everything in a new thread, and log what is given up.

        A finaliser may call this, in any thread and at any point: it takes no lock, does not wait and raises nothing.
        """
        with suppress(PlatformClientError):  # the loop has ended in the meantime
            self.thread.post(self._start_closing)

    def _start_closing(self) -> None:
        try:
            threading.Thread(target=self._close, name=CLOSING_THREAD_NAME, daemon=True).start()
        except RuntimeError as error:
            # It stays open until the exit, which closes what is open. Python 3.12 starts no thread during that.
            if not is_exiting():
                logger.warning("a bridge was dropped without close(); it stays open until the exit: %s", error)

    def _close(self) -> None:
        close_together([self])
        close_at_exit(self)
        if is_exiting():  # this thread would be ended before it has logged anything
            return
        failure = self.take_failures()
        no_longer_open(self)
        if failure is not None:
            logger.error("a bridge was dropped without close(): %s", failure)

    def take_failures(self) -> UndeliveredError | None:
        """Return an error that counts what was given up and is not reported yet, if anything was."""
        return self.outbox.take_failures()
