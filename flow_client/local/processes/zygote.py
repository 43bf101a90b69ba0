"""Forks workers from a process that has already imported what they need.

    python -m flow_client.local.processes.zygote CONTROL_FD FOLDER MODULE

The zygote imports MODULE, says on the socket CONTROL_FD that it is ready, and forks a worker for each order that it
reads there. It reports the start and the end of each worker. When the other side hangs up, it kills all workers and
ends. If the zygote itself is killed, the kernel kills its workers.

Only a process with one thread can be forked safely, and a worker must not find descriptors of others. So the zygote
proves before each fork that it has one thread and the descriptors that it began with, and that no file in FOLDER from
which it loaded code has changed. If something is different, it refuses the order.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flow_client.local.processes import forked

if sys.platform != "linux":
    raise ImportError("a zygote needs Linux: /proc, waitid, and workers that end with their parent")

_BLOCK = 1 << 16
_FIRST_SIGNAL_CODE = 128


@dataclass
class _Worker:
    id: str
    deadline: float | None = None


class Zygote:
    """Forks workers and watches them until the other side of `control` hangs up."""

    def __init__(self, control: int, folder: Path) -> None:
        self._control = control
        self._wakeup = _wake_up_at_sigchld()
        self._workers: dict[int, _Worker] = {}
        self._received = b""
        self._files = _loaded_files(folder)
        self._descriptors = _descriptors()

    def serve(self) -> forked.Order | None:
        """Serve until the other side hangs up. It also returns in each worker, there with the worker's order."""
        problem = self._unfit()
        self._say({"unfit": problem} if problem else {"ready": os.getpid()})
        while True:
            readable, _, _ = select.select([self._control, self._wakeup], [], [], self._seconds_left())
            if self._wakeup in readable:
                os.read(self._wakeup, _BLOCK)
            self._reap()
            self._kill_what_is_overdue()
            if self._control in readable:
                chunk = self._read()
                if not chunk:
                    self._kill_all()
                    return None
                order = self._handle(chunk)
                if order is not None:
                    return order

    def _read(self) -> bytes:
        try:
            return os.read(self._control, _BLOCK)
        except ConnectionResetError:  # the other side closed without having read everything
            return b""

    def _handle(self, chunk: bytes) -> forked.Order | None:
        *lines, self._received = (self._received + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "grace" in message:
                self._end(message["id"], message["grace"])
            elif self._fork(message["id"]):
                return forked.Order(**message["order"])
        return None

    def _fork(self, worker_id: str) -> bool:
        """Fork unless this process is unfit, and return whether this is the new worker."""
        problem = self._unfit()
        if problem is not None:
            self._say({"id": worker_id, "unfit": problem})
            return False
        # A signal that comes before the worker has its own handlers waits until it has.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._workers.clear()  # they are the zygote's
            forked.die_with(zygote)
            return True
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._workers[pid] = _Worker(worker_id)
        self._say({"id": worker_id, "pid": pid})
        return False

    def _unfit(self) -> str | None:
        threads = len(_names("/proc/self/task"))
        if threads != 1:
            return f"it has {threads} threads"
        if _descriptors() != self._descriptors:
            return f"its descriptors are {sorted(_descriptors())}; they were {sorted(self._descriptors)}"
        changed = (f"{file} has changed" for file, state in self._files.items() if _state(file) != state)
        return next(changed, None)

    def _end(self, worker_id: str, grace: float) -> None:
        for pid, worker in self._workers.items():
            if worker.id == worker_id:
                if grace > 0:
                    _signal_group(pid, signal.SIGTERM)
                worker.deadline = time.monotonic() + grace

    def _kill_what_is_overdue(self) -> None:
        now = time.monotonic()
        for pid, worker in self._workers.items():
            if worker.deadline is not None and worker.deadline <= now:
                worker.deadline = None
                _signal_group(pid, signal.SIGKILL)

    def _seconds_left(self) -> float | None:
        deadlines = [worker.deadline for worker in self._workers.values() if worker.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _reap(self) -> None:
        while self._workers:
            # The group is killed before its leader is reaped: until then nobody else can have its number.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            _signal_group(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            code = os.waitstatus_to_exitcode(status)
            worker = self._workers.pop(ended.si_pid, None)
            if worker is not None:
                self._say({"id": worker.id, "code": code if code >= 0 else _FIRST_SIGNAL_CODE - code})

    def _kill_all(self) -> None:
        for pid in self._workers:
            _signal_group(pid, signal.SIGKILL)

    def _say(self, message: dict[str, Any]) -> None:
        # When the other side has hung up, the next read says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line = json.dumps(message).encode() + b"\n"
            while line:
                line = line[os.write(self._control, line) :]


def _wake_up_at_sigchld() -> int:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it has not made its session yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _descriptors() -> set[str]:
    return _names("/proc/self/fd")


def _names(folder: str) -> set[str]:
    return set(os.listdir(folder))  # noqa: PTH208 - in each fork's way, and `Path` takes ten times as long


def _loaded_files(folder: Path) -> dict[Path, object]:
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    files = {Path(name).resolve() for name in names if name}
    return {file: _state(file) for file in files if file.is_relative_to(folder)}


def _state(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def main(control: str, folder: str, module: str) -> None:
    """Serve; in a worker, run it."""
    import_module(module)
    gc.collect()
    gc.freeze()
    order = Zygote(int(control), Path(folder).resolve()).serve()
    if order is not None:
        forked.run(order)


if __name__ == "__main__":
    main(*sys.argv[1:])
