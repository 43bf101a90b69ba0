"""A worker that a zygote forked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from flow_client.local.settings import WORKER_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KILLED = 128 + signal.SIGKILL


class UnfitError(RuntimeError):
    """A zygote did not fork a worker. The message says why."""


class WarmWorker:
    """A worker that a zygote forked, or is about to.

    Args:
        worker_id: the number by which the zygote knows it.
        send: sends a message to the zygote.

    Attributes:
        id: the number by which the zygote knows it.
        started: done when the zygote has forked it; raises `UnfitError` if the zygote will not.
        exited: its exit code when it has ended, 128 + N for signal N.
    """

    def __init__(self, worker_id: int, send: Callable[[Mapping[str, Any]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.id = worker_id
        self.started: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._send = send

    @property
    def is_over(self) -> bool:
        """Whether the zygote will say nothing more about it."""
        return self.exited.done() or (self.started.done() and self.started.exception() is not None)

    def terminate(self) -> None:
        """Ask the worker to end, and kill it after its grace. Does not wait."""
        self._end_within(WORKER_GRACE)

    def kill(self) -> None:
        """Kill the worker and its process group at once. Does not wait."""
        self._end_within(0)

    def _end_within(self, grace: float) -> None:
        if not self.exited.done():
            self._send({"id": self.id, "grace": grace})

    def handle(self, message: Mapping[str, Any]) -> None:
        """Take in what the zygote says about this worker."""
        if "unfit" in message:
            self.started.set_exception(UnfitError(message["unfit"]))
        elif "pid" in message:
            self.started.set_result(message["pid"])
        else:
            self.exited.set_result(message["code"])

    def lose(self) -> None:
        """Take in that the zygote has ended, and with it this worker; kill what the worker has left."""
        if not self.started.done():
            self.started.set_exception(UnfitError("it has ended"))
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.started.result(), signal.SIGKILL)
        self.exited.set_result(_KILLED)
