"""Starts the workers of a runner, warm ones where that is possible."""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from flow_client.local.processes.forked import Order
from flow_client.local.runner import worker_command
from flow_client.local.runner.fresh_worker import FreshWorker
from flow_client.local.runner.warm_worker import UnfitError
from flow_client.local.runner.zygote_process import ZygoteProcess
from flow_client.local.state.dispatch import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flow_client.local.manifest import Component
    from flow_client.local.settings import ServiceSettings
    from flow_client.local.state.logs import LogFolder
    from flow_client.local.state.records import Record

_MOST_ZYGOTES = 8
"""How many environments of components are kept warm."""
_logger = logging.getLogger(__name__)


class Worker(Protocol):
    """A running worker. `exited` is its exit code when it has ended, 128 + N for signal N."""

    exited: asyncio.Future[int]

    def terminate(self) -> None:
        """Ask it to end, and kill it after its grace. Does not wait."""

    def kill(self) -> None:
        """Kill it and its process group at once. Does not wait."""


class Workers:
    """Starts one process for each execution.

    On Linux it is forked from a zygote, which has imported what a worker needs: there is one for each environment that
    components have. Elsewhere, on request, and while a zygote cannot be used, it is a newly started interpreter. To the
    component both are the same.
    """

    def __init__(self, settings: ServiceSettings, folder: Path, logs: LogFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._logs = logs
        self._zygotes: dict[frozenset[tuple[str, str]], ZygoteProcess | None] = {}
        self._started: set[ZygoteProcess] = set()
        self._threads = ThreadPoolExecutor(settings.max_workers * LEVELS, "worker")

    def warm_up(self, environment: Mapping[str, str]) -> None:
        """Start the zygote for components with this `env`, so that their first execution finds it."""
        self._zygote(environment)

    async def start(self, record: Record, component: Component) -> Worker:
        """Start the worker of an execution.

        Raises:
            OSError: the process cannot be started.
        """
        order = self._order(record, component)
        zygote = self._zygote(component.env)
        if zygote is not None:
            try:
                return await zygote.fork(order)
            except UnfitError as error:
                _logger.warning("a new interpreter runs %s, since its zygote did not fork: %s", component.id, error)
                self._retire(component.env, zygote)
        return await FreshWorker.start(order, self._threads)

    async def close(self) -> None:
        """End the zygotes, and with them the workers that are left."""
        await asyncio.gather(*(zygote.close() for zygote in self._started))
        self._threads.shutdown()

    def _zygote(self, environment: Mapping[str, str]) -> ZygoteProcess | None:
        if sys.platform != "linux" or self._settings.fresh_workers:
            return None
        key = frozenset(environment.items())
        if key not in self._zygotes and len(self._zygotes) < _MOST_ZYGOTES:
            lasting = worker_command.lasting_environment(self._folder, environment)
            self._zygotes[key] = zygote = ZygoteProcess(lasting, self._folder)
            self._started.add(zygote)
            zygote.on_end(lambda: self._started.discard(zygote))
        return self._zygotes.get(key)

    def _order(self, record: Record, component: Component) -> Order:
        return Order(
            module="flow_client.worker",
            arguments=[component.handler],
            environment=worker_command.environment(record, component, self._folder, self._settings),
            folder=str(self._folder),
            log=str(self._logs.file(record.execution_id)),
        )

    def _retire(self, environment: Mapping[str, str], zygote: ZygoteProcess) -> None:
        """Have the next execution start another zygote, unless this one never was of use: then another would not be."""
        key = frozenset(environment.items())
        if self._zygotes.get(key) is zygote:
            if zygote.was_ready:
                del self._zygotes[key]
            else:
                self._zygotes[key] = None
            zygote.retire()
