"""The runner: takes dispatched executions of a ring and runs a worker process for each.

Started as `python -m flow_client.local.runner`. Any number of runners can share a ring.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nats.errors

from flow_client.local.manifest import load
from flow_client.local.processes.guarded import announce
from flow_client.local.runner.delivery import Delivery, Workshop
from flow_client.local.settings import ServiceSettings, from_environment
from flow_client.local.state import dispatch
from flow_client.local.state.changes import execution_id_of, watch
from flow_client.local.state.connection import connect
from flow_client.local.state.logs import LogFolder
from flow_client.local.state.records import Executions, Record

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

# A fetch does not notice that the server was restarted: a short one is asked again.
_FETCH_TIMEOUT = 5.0
_PAUSE_AFTER_FAILURE = 0.5
_CLOSE_TIMEOUT = 2.0
_logger = logging.getLogger(__name__)


class Runner:
    """Runs at most `max_workers` executions of each level at a time."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._deliveries: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Begin to watch for executions that are cancelled."""
        await watch(self._workshop.js, self._on_change)

    async def take(self, subscription: JetStreamContext.PullSubscription) -> None:
        """Take the executions of one level until cancelled."""
        slots = asyncio.Semaphore(self._workshop.settings.max_workers)
        while True:
            await slots.acquire()
            message = await _next_message(subscription)
            if message is None or execution_id_of(message) in self._deliveries:
                slots.release()  # a second delivery of what runs here already: the first keeps it alive
                continue
            delivery = Delivery(message, self._workshop)
            self._deliveries[delivery.execution_id] = delivery
            task = asyncio.create_task(self._process(delivery))
            task.add_done_callback(lambda _: slots.release())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def give_back(self) -> None:
        """End all workers; other runners get their executions."""
        for delivery in self._deliveries.values():
            delivery.give_back()
        await asyncio.gather(*self._tasks)

    async def _process(self, delivery: Delivery) -> None:
        try:
            await delivery.process()
        except Exception:
            # Not settled, so JetStream delivers it again: to this runner or, should it be broken, to another one.
            _logger.exception("%s could not be run", delivery.execution_id)
        finally:
            del self._deliveries[delivery.execution_id]

    async def _on_change(self, message: Msg) -> None:
        delivery = self._deliveries.get(execution_id_of(message))
        if delivery is not None and message.data:
            delivery.stop_if_ended(Record.from_bytes(message.data))


async def _next_message(subscription: JetStreamContext.PullSubscription) -> Msg | None:
    try:
        (message,) = await subscription.fetch(1, timeout=_FETCH_TIMEOUT)
    except nats.errors.TimeoutError:
        return None
    except nats.errors.Error as exc:
        _logger.warning("cannot take executions: %s: %s", type(exc).__name__, exc)
        await asyncio.sleep(_PAUSE_AFTER_FAILURE)
        return None
    return message


async def run(settings: ServiceSettings) -> None:
    """Run executions until SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    settings.log_folder.mkdir(parents=True, exist_ok=True)
    connection = await connect(settings.nats_url, "flow-local-runner")
    with ThreadPoolExecutor(settings.max_workers * dispatch.LEVELS, "worker") as threads:
        js = connection.jetstream()
        executions = await Executions.open(js)
        logs = LogFolder(settings.log_folder)
        await logs.serve(connection)
        runner = Runner(Workshop(js, executions, load(settings.components), settings, logs, threads))
        await runner.watch()
        await _take_until(stopped, runner, await _subscribe(js, settings.ring_id))
    await asyncio.wait_for(connection.close(), _CLOSE_TIMEOUT)


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
    # A fetch that is still waiting at the server would get back what is given back.
    for subscription in subscriptions:
        await subscription.unsubscribe()
    await runner.give_back()
    stopping.cancel()
    for task in failed:
        await task  # it ended by an error of its own: let that be seen


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(run(from_environment()))
