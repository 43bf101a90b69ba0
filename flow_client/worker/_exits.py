"""The exit codes of a worker's process."""

from __future__ import annotations

import sys

# Those of sysexits.h, as numbers: Windows has no `os.EX_USAGE` and so on.
EXIT_STORED = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_MALFORMED_INPUT = 65
EXIT_NO_INPUT = 69
EXIT_NOT_STORED = 74


def fail(code: int, message: str) -> int:
    """Write to stderr why the worker ends, and return the exit code."""
    sys.stderr.write(f"flow_client.worker: {message}\n")
    return code
