"""One run of a worker for an execution: it starts when the runner takes the execution from the queue."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.js.errors import NotFoundError

from flow_client._api._generated.operations import EXECUTION_INPUT_SUBJECT, EXECUTION_OUTPUT_SUBJECT
from flow_client._core.timestamps import utc_now
from flow_client._nats.jetstream import INPUT_STREAM
from flow_client.local.state.dispatch import ACK_WAIT, MAX_DELIVERIES
from flow_client.local.state.records import Record, moment, now
from flow_client.local.state.streams import OUTPUT_STREAM, execution_id_of

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from flow_client.local.manifest import Component
    from flow_client.local.runner.context import RunnerContext
    from flow_client.local.runner.workers import Worker

_HEARTBEAT = ACK_WAIT / 3
"""Seconds between two signs of life: even when one is lost, the execution is not delivered to another runner."""
_FIRST_SIGNAL_CODE = 128
_logger = logging.getLogger(__name__)


class WorkerRun:
    """Runs one worker for an execution and decides whether the execution has ended or is delivered again.

    A worker that stored an output has done its work, whatever the output says. One that died without has crashed.
    """

    def __init__(self, message: Msg, context: RunnerContext) -> None:
        self.execution_id: str = execution_id_of(message)
        self._message = message
        self._context = context
        self._number = message.metadata.num_delivered
        self._stop = asyncio.Event()
        self._worker: Worker | None = None
        self._returned = False

    def stop_if_ended(self, record: Record | None) -> None:
        """End the worker if the execution was ended by someone else. After its own output it exits by itself."""
        if record is not None and record.is_terminal and record.output_sequence is None:
            self._stop.set()

    def give_back(self) -> None:
        """Kill the worker and return the execution to the queue."""
        self._returned = True
        self._stop.set()
        if self._worker is not None:
            self._worker.kill()

    async def process(self) -> None:
        """Run the execution, then acknowledge the message or return it. Until then JetStream is told to wait."""
        heartbeat = asyncio.create_task(self._keep_alive())
        try:
            done = await self._run()
        finally:
            heartbeat.cancel()
        if done:
            await self._discard_input()
            await self._message.ack_sync()
        else:
            await self._message.nak()

    async def _run(self) -> bool:
        self._context.logs.create(self.execution_id)  # before the record says that there is a runner to ask for it
        record = await self._context.executions.change(self.execution_id, self._begin)
        if record is None or await self._is_over():
            return True
        component = self._context.manifest.find(record.kind, record.component_id)
        if component is None:
            return await self._dead_letter(f"{record.kind} {record.component_id!r} is no longer in the manifest.")
        if self._number > MAX_DELIVERIES:
            return await self._dead_letter(f"The runner ended during each of {MAX_DELIVERIES} deliveries.")
        if _left(record) == 0:
            return await self._time_out(record)
        return await self._conclude(await self._work(record, component))

    async def _conclude(self, exit_code: int) -> bool:
        if await self._is_over():
            return True
        if self._returned or self._number < MAX_DELIVERIES:
            _logger.warning("%s: %s; it will be delivered again", self.execution_id, _ending(exit_code))
            return False
        return await self._dead_letter(f"{_ending(exit_code)}, in the last of {MAX_DELIVERIES} deliveries.")

    def _begin(self, record: Record) -> Record:
        begun = record.with_status("queued", dispatched_at=record.dispatched_at or now())
        return dataclasses.replace(begun, deliveries=self._number)

    async def _work(self, record: Record, component: Component) -> int:
        worker = await self._context.workers.start(record, component)
        self._worker = worker
        stopped = asyncio.create_task(self._stop.wait())
        try:
            either: set[asyncio.Future[Any]] = {worker.exited, stopped}
            await asyncio.wait(either, timeout=_left(record), return_when=asyncio.FIRST_COMPLETED)
            if not worker.exited.done() and not stopped.done():
                await self._time_out(record)
        finally:
            stopped.cancel()
            # A terminated worker reports a failure. That is right when the execution is over, but not when another
            # runner will run it: then the worker is killed.
            (worker.kill if self._returned else worker.terminate)()
        return await worker.exited

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._message.in_progress()
                # The watch reports a cancellation at once, but it may have missed one during an outage.
                record = await self._context.executions.find(self.execution_id)
            except nats.errors.Error as error:
                _logger.warning("%s: the heartbeat failed: %s: %s", self.execution_id, type(error).__name__, error)
            else:
                self.stop_if_ended(record)

    async def _is_over(self) -> bool:
        record = await self._context.executions.find(self.execution_id)
        return record is None or record.is_terminal or await self._has_output()

    async def _has_output(self) -> bool:
        subject = EXECUTION_OUTPUT_SUBJECT.format(execution_id=self.execution_id)
        try:
            await self._context.js.get_msg(OUTPUT_STREAM, subject=subject, direct=True)
        except NotFoundError:
            return False
        return True

    async def _dead_letter(self, message: str) -> bool:
        return await self._end("dead_letter", "WorkerCrashed", message)

    async def _time_out(self, record: Record) -> bool:
        message = f"The execution took longer than its timeout_seconds, {record.timeout_seconds:g}."
        return await self._end("timeout", "ExecutionTimeout", message)

    async def _end(self, status: str, kind: str, message: str) -> bool:
        error: dict[str, object] = {"type": kind, "message": message}
        log = self._context.logs.tail(self.execution_id)
        await self._context.executions.change(self.execution_id, lambda r: r.ended(status, error=error, log=log))
        return True

    async def _discard_input(self) -> None:
        subject = EXECUTION_INPUT_SUBJECT.format(execution_id=self.execution_id)
        await self._context.js.purge_stream(INPUT_STREAM, subject=subject)


def _left(record: Record) -> float:
    """Return the seconds that are left of the time limit, which counts from the first delivery."""
    used = utc_now() - moment(record.dispatched_at or now())
    return max(0.0, record.timeout_seconds - used.total_seconds())


def _ending(exit_code: int) -> str:
    try:
        name = signal.Signals(exit_code - _FIRST_SIGNAL_CODE).name
    except ValueError:
        return f"The worker left no output and exited with code {exit_code}"
    return f"The worker left no output and was killed by {name}"
