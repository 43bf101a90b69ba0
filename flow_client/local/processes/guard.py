"""Runs a command that must not outlive the process that started it.

    python -I -S guard.py PARENT_PID GRACE ORPHAN_GRACE COMMAND [ARGUMENT…]

The command gets its own process group. On SIGTERM, SIGINT or SIGHUP the guard ends the whole group: with SIGTERM,
and GRACE seconds later with SIGKILL. On SIGQUIT it sends SIGKILL at once. When the guard's standard input is closed, or
its parent is no longer PARENT_PID, the grace is ORPHAN_GRACE. A grace of 0 means SIGKILL at once. When the command
exits, the guard kills what is left of the group and exits with the same code, 128 + N for signal N.

It runs as a script and only imports what loads in milliseconds, because every execution starts one.
"""

import contextlib
import os
import select
import signal
import sys
import time
from typing import NoReturn

_POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HANDLED = (*_POLITE, signal.SIGQUIT, signal.SIGCHLD)
_POLL_SECONDS = 0.25
_REAP_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1
_COMMAND_NOT_FOUND = 127


class Guard:
    """Watches the command, and ends its process group when there is a reason to."""

    def __init__(self, parent: int, grace: float, orphan_grace: float) -> None:
        self._parent = parent
        self._grace = grace
        self._orphan_grace = orphan_grace
        self._received: set[int] = set()
        self._child = 0

    def run(self, command: list[str]) -> int:
        """Run `command` until it ends and return its exit code."""
        wakeup = self._listen()
        self._child = _spawn(command)
        status = self._watch(wakeup)
        self._signal_group(signal.SIGKILL)
        return status

    def _listen(self) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, lambda received, _frame: self._received.add(received))
        return reader

    def _watch(self, wakeup: int) -> int:
        starter = sys.stdin.fileno()
        while True:
            status = self._reap()
            if status is not None:
                return status
            if self._received.intersection((*_POLITE, signal.SIGQUIT)):
                return self._end(self._grace)
            readable, _, _ = select.select([starter, wakeup], [], [], _POLL_SECONDS)
            if wakeup in readable:
                os.read(wakeup, 512)
            if os.getppid() != self._parent or (starter in readable and not os.read(starter, 512)):
                return self._end(self._orphan_grace)

    def _end(self, grace: float) -> int:
        deadline = time.monotonic() + grace
        if grace > 0 and signal.SIGQUIT not in self._received:
            self._signal_group(signal.SIGTERM)
        while time.monotonic() < deadline and signal.SIGQUIT not in self._received:
            status = self._reap()
            if status is not None:
                return status
            time.sleep(_REAP_POLL_SECONDS)
        self._signal_group(signal.SIGKILL)
        _, wait_status = os.waitpid(self._child, 0)
        return _exit_code(wait_status)

    def _reap(self) -> "int | None":
        pid, wait_status = os.waitpid(self._child, os.WNOHANG)
        return _exit_code(wait_status) if pid else None

    def _signal_group(self, number: int) -> None:
        # macOS refuses to signal a group in which only the dead leader is left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child, number)


def _exit_code(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _spawn(command: list[str]) -> int:
    guard = os.getpid()
    # A signal between fork and exec would go to the guard's handlers, and the command would never see it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    child = os.fork()
    if child == 0:
        _exec(command, guard)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(child, child)  # in both processes, so that the group exists from here on whichever is first
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    return child


def _exec(command: list[str], guard: int) -> NoReturn:
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (*_HANDLED, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _die_with_the_guard(guard)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except BaseException as error:  # noqa: BLE001 - the forked copy of the guard must not continue
        os.write(2, f"{command[0]}: {error}\n".encode())
        os._exit(_COMMAND_NOT_FOUND)


def _die_with_the_guard(guard: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - only used on Linux

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != guard:
        os._exit(128 + signal.SIGKILL)


def main() -> int:
    """Guard the command that the arguments name, and return its exit code."""
    parent, grace, orphan_grace, *command = sys.argv[1:]
    return Guard(int(parent), float(grace), float(orphan_grace)).run(command)


if __name__ == "__main__":
    sys.exit(main())
