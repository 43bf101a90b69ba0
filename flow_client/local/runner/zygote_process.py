"""The runner's side of a zygote."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from flow_client.local.runner.warm_worker import UnfitError, WarmWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from flow_client.local.processes.forked import Order

READY_TIMEOUT = 30.0
"""Seconds that a zygote has to import what its workers need."""
_CLOSE_TIMEOUT = 2.0
_PRELOADED = "flow_client.worker._preload"


class ZygoteProcess:
    """A zygote, with the environment that its workers have in common.

    It ends when this process does, however that happens, and takes its workers with it.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        ours, theirs = socket.socketpair()
        module = "flow_client.local.processes.zygote"
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter and names of ours
                [sys.executable, "-m", module, str(theirs.fileno()), str(folder), _PRELOADED],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                env=dict(environment),
                cwd=folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # so that what ends this process's group leaves it the time to end its workers
            )
        self._workers: dict[int, WarmWorker] = {}
        self._ids = itertools.count(1)
        self._retired = False
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer: asyncio.StreamWriter | None = None
        self._reading = asyncio.create_task(self._read(ours))

    @property
    def was_ready(self) -> bool:
        """Whether it could fork once it had started."""
        return self._ready.done() and self._ready.exception() is None

    @property
    def pid(self) -> int:
        """Its process id. Workers are its children."""
        return self._process.pid

    def on_end(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the zygote and its workers have ended."""
        self._reading.add_done_callback(lambda _: tell())

    async def fork(self, order: Order) -> WarmWorker:
        """Start a worker.

        Raises:
            UnfitError: the zygote cannot fork safely, was not ready in time, or has ended. No worker was started.
        """
        await self._until_ready()
        if self._reading.done():
            raise UnfitError("it has ended")
        worker = WarmWorker(next(self._ids), self._send)
        self._workers[worker.id] = worker
        self._send({"id": worker.id, "order": dataclasses.asdict(order)})
        await worker.started
        return worker

    def retire(self) -> None:
        """Have the zygote end when its last worker has."""
        self._retired = True
        self._hang_up_if_unused()

    async def close(self) -> None:
        """Kill the workers that are left, and wait until the zygote has ended."""
        self._hang_up()
        if self._ready.done():
            await asyncio.wait([self._reading], timeout=_CLOSE_TIMEOUT)
        if not self._reading.done():  # it hangs, or is still importing
            self._process.kill()
        await self._reading

    def _hang_up_if_unused(self) -> None:
        if self._retired and not self._workers:
            self._hang_up()

    def _hang_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.write_eof()  # and no more than that: the zygote's own end is still read

    async def _until_ready(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), READY_TIMEOUT)
        except asyncio.TimeoutError:
            raise UnfitError(f"it was not ready after {READY_TIMEOUT:g} s") from None

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _read(self, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        self._writer = writer
        try:
            with contextlib.suppress(ConnectionResetError):
                while line := await reader.readline():
                    self._handle(json.loads(line))
        finally:
            self._writer = None
            writer.close()
            self._end()

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "id" not in message:
            self._set_ready(message.get("unfit"))
            return
        worker = self._workers[message["id"]]
        worker.handle(message)
        if worker.is_over:
            del self._workers[worker.id]
            self._hang_up_if_unused()

    def _set_ready(self, unfit: str | None) -> None:
        if self._ready.done():
            return
        if unfit is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(UnfitError(unfit))
            self._ready.exception()  # it may be that nobody waits

    def _end(self) -> None:
        """Say that the workers are dead: the kernel killed them with the zygote."""
        self._process.kill()
        self._process.wait()
        self._set_ready("it has ended")
        for worker in self._workers.values():
            worker.lose()
        self._workers.clear()
