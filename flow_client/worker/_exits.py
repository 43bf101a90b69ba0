"""How a worker's process ends."""

from __future__ import annotations

import sys

# Those of sysexits.h, by number: `os.EX_USAGE` and the others are not there on Windows.
EXIT_STORED = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_MALFORMED_INPUT = 65
EXIT_NO_INPUT = 69
EXIT_NOT_STORED = 74


def fail(code: int, message: str) -> int:
    """Say on stderr why the worker ends, and return its exit code."""
    sys.stderr.write(f"flow_client.worker: {message}\n")
    return code
