"""A worker in a newly started process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flow_client.local.processes.guarded import GuardedProcess
from flow_client.local.settings import WORKER_GRACE

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from flow_client.local.processes.forked import Order


class FreshWorker:
    """A worker in a newly started process.

    Attributes:
        exited: its exit code when it has ended, 128 + N for signal N.
    """

    def __init__(self, process: GuardedProcess, threads: Executor) -> None:
        self._process = process
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().run_in_executor(threads, process.wait)

    @classmethod
    async def start(cls, order: Order, threads: Executor) -> FreshWorker:
        """Start the worker. It occupies one of `threads` until it has ended.

        Raises:
            OSError: the process cannot be started, or the log is not writable.
        """
        process = await asyncio.get_running_loop().run_in_executor(threads, _start, order)
        return cls(process, threads)

    def terminate(self) -> None:
        """Ask the worker to end, and kill it after its grace. Does not wait."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the worker and its process group at once. Does not wait."""
        self._process.kill()


def _start(order: Order) -> GuardedProcess:
    return GuardedProcess(
        [sys.executable, "-m", order.module, *order.arguments],
        log=Path(order.log),
        env=order.environment,
        cwd=Path(order.folder),
        grace=WORKER_GRACE,
        orphan_grace=0,
    )
