"""How tests start Python strictly, and find what they have started by a mark: the folder for temporary files."""

import os
import re
import sys

import psutil

STRICT = (sys.executable, "-X", "dev", "-W", "error")
"""Python with its debug mode and asyncio's, and with warnings as errors."""


def without_slow_steps(errors):
    """Leave out what asyncio says, in debug mode, of a step that took more than 0.1 s: on a busy machine any does."""
    return re.sub(r"(?m)^(?:WARNING:asyncio:)?Executing <.* took .* seconds\n", "", errors)


def marked(folder, **more):
    """Return an environment whose processes `processes_of` finds, and theirs."""
    return {**os.environ, "TMPDIR": str(folder), **more}


def end(process):
    """Kill a process that a test has started, if it is still there, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def processes_of(folder):
    """Return the running processes that were started in an environment with this mark."""
    return [process for process in psutil.process_iter() if _folder_of(process) == str(folder)]


def _folder_of(process):
    try:
        return process.environ().get("TMPDIR")
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return None
