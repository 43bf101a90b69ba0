"""The runner: takes the dispatched executions of a ring and starts a worker process for each."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import nats.errors

from flow_client.local.manifest import load
from flow_client.local.processes.guarded import announce
from flow_client.local.runner.context import RunnerContext
from flow_client.local.runner.worker_run import WorkerRun
from flow_client.local.runner.workers import Workers
from flow_client.local.state import dispatch
from flow_client.local.state.changes import watch
from flow_client.local.state.connection import connect
from flow_client.local.state.logs import LogFolder
from flow_client.local.state.records import Executions, Record
from flow_client.local.state.streams import execution_id_of

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.settings import ServiceSettings

_FETCH_TIMEOUT = 5.0
"""Seconds of one fetch. It does not notice that the server was restarted, so it is kept short and repeated."""
_PAUSE_AFTER_FAILURE = 0.5
_CLOSE_TIMEOUT = 2.0
_logger = logging.getLogger(__name__)


class Runner:
    """Runs at most `max_workers` executions at a time on each level. Any number of runners can share a ring."""

    def __init__(self, context: RunnerContext) -> None:
        self._context = context
        self._runs: dict[str, WorkerRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Start to watch for cancelled executions."""
        await watch(self._context.js, self._on_change)

    async def take(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Take the executions of one level until this coroutine is cancelled."""
        slots = asyncio.Semaphore(self._context.settings.max_workers)
        while True:
            await slots.acquire()
            message = await _next_message(subscription)
            if message is None or execution_id_of(message) in self._runs:
                slots.release()  # what runs here already was delivered again: its run keeps it alive
            else:
                self._start(message).add_done_callback(lambda _: slots.release())

    async def give_back(self) -> None:
        """Kill all workers and return their executions to the queue, for other runners."""
        for run in self._runs.values():
            run.give_back()
        await asyncio.gather(*self._tasks)

    def _start(self, message: Msg) -> asyncio.Task[None]:
        run = WorkerRun(message, self._context)
        self._runs[run.execution_id] = run
        task = asyncio.create_task(self._process(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _process(self, run: WorkerRun) -> None:
        try:
            await run.process()
        except Exception:
            # The message is not settled, so JetStream delivers it again: here or, if this runner is broken, to another.
            _logger.exception("%s could not be run", run.execution_id)
        finally:
            del self._runs[run.execution_id]

    async def _on_change(self, message: Msg) -> None:
        run = self._runs.get(execution_id_of(message))
        if run is not None and message.data:
            run.stop_if_ended(Record.from_bytes(message.data))


async def run(settings: ServiceSettings) -> None:
    """Run executions until SIGTERM or SIGINT.

    Raises:
        ManifestError: the manifest is not usable.
        SettingError: NATS cannot be used.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    settings.log_folder.mkdir(parents=True, exist_ok=True)
    logs = LogFolder(settings.log_folder)
    manifest = load(settings.components)
    workers = Workers(settings, manifest.folder, logs)
    workers.warm_up({})
    try:
        connection = await connect(settings.nats_url, "flow-local-runner")
        await logs.serve(connection)
        js = connection.jetstream()
        runner = Runner(RunnerContext(js, await Executions.open(js), manifest, settings, logs, workers))
        await runner.watch()
        await _take_until(stopped, runner, await _subscribe(js, settings.ring_id))
        await asyncio.wait_for(connection.close(), _CLOSE_TIMEOUT)
    finally:
        await workers.close()


async def _subscribe(js: JetStreamContext, ring_id: str) -> list[JetStreamContext.PullSubscription]:
    await dispatch.ensure_dispatch(js)
    return [
        await js.pull_subscribe(
            dispatch.subject(ring_id, level, "*"),
            durable=dispatch.consumer_name(ring_id, level),
            stream=dispatch.STREAM,
            config=dispatch.consumer_config(),
        )
        for level in range(dispatch.LEVELS)
    ]


async def _take_until(
    stopped: asyncio.Event, runner: Runner, subscriptions: list[JetStreamContext.PullSubscription]
) -> None:
    taking = {asyncio.create_task(runner.take(subscription)) for subscription in subscriptions}
    stopping = asyncio.create_task(stopped.wait())
    announce({})
    await asyncio.wait({*taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = {task for task in taking if task.done()}
    for task in taking - failed:
        task.cancel()
    # Otherwise a fetch that still waits at the server would receive the executions that are given back.
    for subscription in subscriptions:
        await subscription.unsubscribe()
    await runner.give_back()
    stopping.cancel()
    for task in failed:
        await task  # raises the error that ended it


async def _next_message(subscription: JetStreamContext.PullSubscription) -> Msg | None:
    try:
        (message,) = await subscription.fetch(1, timeout=_FETCH_TIMEOUT)
    except nats.errors.TimeoutError:
        return None
    except nats.errors.Error as error:
        _logger.warning("cannot take executions: %s: %s", type(error).__name__, error)
        await asyncio.sleep(_PAUSE_AFTER_FAILURE)
        return None
    return message
