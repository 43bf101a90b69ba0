"""One delivery of a dispatched execution to a runner."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.js.errors import NotFoundError

from flow_client._api._generated.operations import EXECUTION_INPUT_SUBJECT, EXECUTION_OUTPUT_SUBJECT
from flow_client.local.processes.guarded import GuardedProcess
from flow_client.local.runner import workers
from flow_client.local.state.changes import execution_id_of
from flow_client.local.state.dispatch import ACK_WAIT, MAX_DELIVERIES
from flow_client.local.state.records import Record, moment, now
from flow_client.local.state.streams import INPUT_STREAM, OUTPUT_STREAM

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flow_client.local.manifest import Component, Manifest
    from flow_client.local.settings import ServiceSettings
    from flow_client.local.state.logs import LogFolder
    from flow_client.local.state.records import Executions

# Longer than what the worker gives its handler (5 s), so that it can still say how that ended.
WORKER_GRACE = 8.0
_HEARTBEAT = ACK_WAIT / 3
_FIRST_SIGNAL_CODE = 128
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all deliveries of a runner share. `threads` has one thread for each worker."""

    js: JetStreamContext
    executions: Executions
    manifest: Manifest
    settings: ServiceSettings
    logs: LogFolder
    threads: Executor


class Delivery:
    """Runs one worker for an execution and decides whether the execution is done with or delivered again.

    A worker that leaves an output behind is done, whatever the output says; one that dies without is a crash.
    """

    def __init__(self, message: Msg, workshop: Workshop) -> None:
        self.execution_id = execution_id_of(message)
        self._message = message
        self._workshop = workshop
        self._number = message.metadata.num_delivered
        self._stop = asyncio.Event()
        self._process: GuardedProcess | None = None
        self._returned = False

    def stop_if_ended(self, record: Record | None) -> None:
        """End the worker when somebody else ended the execution. After its own output it exits by itself."""
        if record is not None and record.is_terminal and record.output_sequence is None:
            self._stop.set()

    def give_back(self) -> None:
        """End the worker and let another runner have the execution."""
        self._returned = True
        self._stop.set()
        if self._process is not None:
            self._process.kill()

    async def process(self) -> None:
        """Run the execution, keeping the message alive meanwhile, and settle the message."""
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
        record = await self._workshop.executions.change(self.execution_id, self._begin)
        if record is None or await self._is_over():
            return True
        component = self._workshop.manifest.find(record.kind, record.component_id)
        if component is None:
            return await self._dead_letter(f"There is no {record.kind} {record.component_id!r} any more.")
        if self._number > MAX_DELIVERIES:
            return await self._dead_letter(f"The runner ended in each of {MAX_DELIVERIES} deliveries.")
        if _left(record) == 0:
            return await self._time_out(record)
        return await self._conclude(await self._work(record, component))

    async def _conclude(self, exit_code: int) -> bool:
        if await self._is_over():
            return True
        if self._returned or self._number < MAX_DELIVERIES:
            _logger.warning("%s: %s; it is delivered again", self.execution_id, _ending(exit_code))
            return False
        return await self._dead_letter(f"{_ending(exit_code)}, in the last of {MAX_DELIVERIES} deliveries.")

    def _begin(self, record: Record) -> Record:
        begun = record.with_status("queued", dispatched_at=record.dispatched_at or now())
        return dataclasses.replace(begun, deliveries=self._number)

    async def _work(self, record: Record, component: Component) -> int:
        loop = asyncio.get_running_loop()
        process = await loop.run_in_executor(self._workshop.threads, self._start, record, component)
        self._process = process
        exited = loop.run_in_executor(self._workshop.threads, process.wait)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            either: set[asyncio.Future[Any]] = {exited, stopped}
            await asyncio.wait(either, timeout=_left(record), return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and not stopped.done():
                await self._time_out(record)
        finally:
            stopped.cancel()
            # A worker that is asked to end reports a failure: fine when the execution is over, but not when
            # somebody else is to run it.
            (process.kill if self._returned else process.terminate)()
        return await exited

    def _start(self, record: Record, component: Component) -> GuardedProcess:
        folder = self._workshop.manifest.folder
        return GuardedProcess(
            workers.command(component),
            log=self._workshop.logs.file(self.execution_id),
            env=workers.environment(record, component, folder, self._workshop.settings),
            cwd=folder,
            grace=WORKER_GRACE,
            orphan_grace=0,
        )

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT)
            try:
                await self._message.in_progress()
                # The watch tells of a cancelled execution at once; after an outage it may have missed one.
                record = await self._workshop.executions.find(self.execution_id)
            except nats.errors.Error as exc:
                _logger.warning("%s: no heartbeat: %s: %s", self.execution_id, type(exc).__name__, exc)
            else:
                self.stop_if_ended(record)

    async def _is_over(self) -> bool:
        record = await self._workshop.executions.find(self.execution_id)
        return record is None or record.is_terminal or await self._has_output()

    async def _has_output(self) -> bool:
        subject = EXECUTION_OUTPUT_SUBJECT.format(execution_id=self.execution_id)
        try:
            await self._workshop.js.get_msg(OUTPUT_STREAM, subject=subject, direct=True)
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
        log = self._workshop.logs.tail(self.execution_id)
        await self._workshop.executions.change(self.execution_id, lambda r: r.ended(status, error=error, log=log))
        return True

    async def _discard_input(self) -> None:
        subject = EXECUTION_INPUT_SUBJECT.format(execution_id=self.execution_id)
        await self._workshop.js.purge_stream(INPUT_STREAM, subject=subject)


def _left(record: Record) -> float:
    """Return the seconds left of the time limit, which counts from the first delivery."""
    used = datetime.now(timezone.utc) - moment(record.dispatched_at or now())
    return max(0.0, record.timeout_seconds - used.total_seconds())


def _ending(exit_code: int) -> str:
    if exit_code <= _FIRST_SIGNAL_CODE:
        return f"The worker left no output and exited with code {exit_code}"
    try:
        name = signal.Signals(exit_code - _FIRST_SIGNAL_CODE).name
    except ValueError:
        return f"The worker left no output and exited with code {exit_code}"
    return f"The worker left no output and was killed by {name}"
