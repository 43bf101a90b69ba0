"""Which thread a signal interrupts.

The kernel may give a signal to any thread, and prefers the one that runs. Python's handler then waits for the main
thread, which may be in a system call that nothing interrupts. So our threads leave to the main thread what ends a wait.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFT = [getattr(signal, name) for name in ("SIGINT", "SIGALRM") if hasattr(signal, name)]


def leave_to_main_thread() -> None:
    """Have this thread, and those that it starts, not be interrupted by Ctrl-C and alarms."""
    _change("SIG_BLOCK")


@contextmanager
def as_usual() -> Iterator[None]:
    """Undo that for the caller's own code: a process that it starts inherits what its thread leaves to others."""
    _change("SIG_UNBLOCK")
    try:
        yield
    finally:
        _change("SIG_BLOCK")


def _change(how: str) -> None:
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(getattr(signal, how), _LEFT)
