"""Starts programs that use the client, each in a process of its own, and ends them all."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
from support.processes import STRICT, without_slow_steps

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 90.0
"""The hard limit of a program: far more than any of them takes."""
# Python 3.12 warns of every fork beside a thread; that it works here is what is tested.
PYTHON = (*STRICT, "-W", "ignore:This process:DeprecationWarning")


class Programs:
    """Starts programs, each in a process group of its own, and ends what is left of them."""

    def __init__(self, home):
        self._home = home
        self._started = []

    def environment(self, server, **variables):
        settings = {"PLATFORM_API_URL": server.url, "AUTH_TOKEN": "t-1", "ORG_ID": "org-1", "WORKSPACE_ID": "ws-1"}
        return {**os.environ, "HOME": str(self._home), **settings, **variables}

    def start(self, command, server, variables=None, **options):
        """Start `command` and return its `Popen`, with pipes for what it writes."""
        process = subprocess.Popen(
            [str(part) for part in command],
            env=self.environment(server, **(variables or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def launch(self, name, server, *arguments, **variables):
        """Start one of our own programs."""
        return self.start([*PYTHON, PROGRAMS / f"{name}.py", *arguments], server, variables)

    def run(self, name, server, *arguments, **variables):
        """Run one of our own programs to its end and return what it reports, as JSON on its standard output."""
        return report_of(self.launch(name, server, *arguments, **variables))

    def end_all(self):
        for process in self._started:
            _end(process)


def report_of(process):
    """Return what the program reports once it has ended well, without a word on its standard error."""
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, without_slow_steps(errors)) == (0, "")
    return json.loads(output)


def _end(process):
    """End the program and all that it started, each by its id."""
    descendants = []
    with suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
