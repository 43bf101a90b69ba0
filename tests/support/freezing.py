"""Stopping a process so that nothing of it runs any more."""

import os
import signal
import time
from pathlib import Path


def freeze(pid):
    """Stop all threads of a process: the signal alone says that they will stop, not that they have."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 5
    while not _is_frozen(pid):
        assert time.monotonic() < deadline, f"process {pid} was not stopped"
        time.sleep(0.001)


def _is_frozen(pid):
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        time.sleep(0.2)  # there is no such list: macOS
        return True
    # The state is the first letter behind the name, which stands in brackets and may hold anything.
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
    return all(state == "T" for state in states)
