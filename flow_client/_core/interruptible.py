"""Sleeping that a signal can interrupt at any point."""

from __future__ import annotations

import time

LONGEST_SLEEP = 0.5
"""Limit in seconds on one system call that waits: a signal right before the call is noticed only after it.

On Windows it notices none during the call either.
"""


def sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does, in short stretches."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LONGEST_SLEEP))
