"""Makes a forked process what a newly started one would be, and runs a module in it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import os
import runpy
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_FIRST_OWN_DESCRIPTOR = 3
_MOST_DESCRIPTORS = 1 << 20
_LIBC: Any = ctypes.CDLL(None, use_errno=True)
_FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


@dataclass(frozen=True)
class Order:
    """What a worker is to run.

    Attributes:
        module: the module, as for `python -m`.
        arguments: the module's arguments.
        environment: the whole environment.
        folder: the working directory.
        log: the file to which standard output and standard error go.
    """

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    log: str


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which has just forked it, ends."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(_FIRST_SIGNAL_CODE + signal.SIGKILL)


_FIRST_SIGNAL_CODE = 128


def run(order: Order) -> NoReturn:
    """Run the order in this forked process, and end the process with its exit code."""
    code = 1
    try:
        _become_new(order)
        code = _exit_code(order)
    except BaseException:  # noqa: BLE001 - whatever it was, this process must not return into its parent's code
        traceback.print_exc()
    finally:
        _end(code)


def _become_new(order: Order) -> None:
    os.setsid()
    _replace_descriptors(order.log)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    _reset_signals()
    _reseed()
    sys.argv = [order.module, *order.arguments]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]


def _replace_descriptors(log: str) -> None:
    os.closerange(_FIRST_OWN_DESCRIPTOR, _MOST_DESCRIPTORS)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)


def _reset_signals() -> None:
    """Set the handlers with which an interpreter starts."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not None:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _reseed() -> None:
    # `random` seeds itself in a forked process, numpy does not.
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _exit_code(order: Order) -> int:
    try:
        runpy.run_module(order.module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but leave the memory to the kernel: freeing what was preloaded takes 20 ms."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as `multiprocessing` ends its forks
        atexit._run_exitfuncs()  # noqa: SLF001
        _flush_files()
    finally:
        os._exit(code & 0xFF)


def _flush_files() -> None:
    for each in gc.get_objects():  # what was preloaded is frozen, so it is not among them
        if issubclass(type(each), _FILES):
            with contextlib.suppress(Exception):
                each.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
