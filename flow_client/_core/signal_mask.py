"""Which thread a signal interrupts.

The kernel may give a signal to any thread, and prefers the one that runs. Python's handler then waits for the main
thread, which may be in a system call that nothing interrupts. So our threads leave to the main thread what ends a wait.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LEFT = [getattr(signal, name) for name in ("SIGINT", "SIGALRM") if hasattr(signal, name)]


def leave_to_main_thread() -> None:
    """Have this thread, and those that it starts, not be interrupted by Ctrl-C and alarms."""
    _change("SIG_BLOCK", _LEFT)


@contextmanager
def as_usual() -> Iterator[None]:
    """Undo that for the caller's own code: a process that it starts inherits what its thread leaves to others."""
    before = _change("SIG_UNBLOCK", _LEFT)
    try:
        yield
    finally:
        _change("SIG_SETMASK", before)


def _change(how: str, signals: Iterable[int]) -> Iterable[int]:
    """Change what this thread leaves to others; return what it left before."""
    if hasattr(signal, "pthread_sigmask") and _is_apart():  # not on Windows
        before: Iterable[int] = signal.pthread_sigmask(getattr(signal, how), signals)
        return before
    return ()


def _is_apart() -> bool:
    """Return whether there is another thread to leave them to. A greenlet that stands for a thread has none."""
    return threading.get_native_id() != threading.main_thread().native_id
