"""The processes that a test has started, found by a mark that all of them inherit: the folder for temporary files."""

import os

import psutil


def marked(folder, **more):
    """Return an environment whose processes `processes_of` finds, and theirs."""
    return {**os.environ, "TMPDIR": str(folder), **more}


def processes_of(folder):
    """Return the running processes that were started in an environment with this mark."""
    return [process for process in psutil.process_iter() if _folder_of(process) == str(folder)]


def _folder_of(process):
    try:
        return process.environ().get("TMPDIR")
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return None
