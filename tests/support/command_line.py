"""The program `flow-client` in a process of its own, with real pipes."""

import json
import os
import subprocess
import sys

PROGRAM = [sys.executable, "-m", "flow_client"]
SECONDS = 60


def environment(**variables):
    """Return the environment with other variables; one that is None is left out."""
    return {name: value for name, value in {**os.environ, **variables}.items() if value is not None}


def flow(*arguments, stdin="", **variables):
    """Run the program to its end."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
        env=environment(**variables),
    )


def start(*arguments, **options):
    """Start the program with pipes."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PROGRAM, *arguments], encoding="utf-8", **{**pipes, **options})


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]
