"""Stopping a process so that nothing of it runs any more."""

import contextlib
import os
import signal
import time
from pathlib import Path


@contextlib.contextmanager
def frozen(pid):
    """Freeze a process for the block, and have it run again behind it."""
    try:
        freeze(pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def freeze(pid):
    """Stop all threads of a process: the signal alone says that they will stop, not that they have."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while not _is_frozen(pid):
        assert time.monotonic() < deadline, f"process {pid} was not stopped"
        time.sleep(0.001)


def _is_frozen(pid):
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        time.sleep(0.2)  # there is no such list: macOS
        return True
    return all(state in "TZX" for state in map(_state, tasks.iterdir()))


def _state(task):
    try:
        stat = (task / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"  # a thread that ended meanwhile
    # The state is the first letter behind the name, which stands in brackets and may hold anything.
    return stat.rpartition(")")[2].split()[0]
