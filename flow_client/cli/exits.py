"""The exit codes, and what each outcome and error becomes. docs/cli.md lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_client import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPLETED = 0
FAILED = 1
USAGE = 2
CANCELLED = 3
TIMED_OUT = 4
DEAD_LETTER = 5
UNREACHABLE = 69
INTERNAL = 70
IO = 74
NOT_AUTHORISED = 77
CONFIGURATION = 78
INTERRUPTED = 130
BROKEN_PIPE = 141

_FROM_BEST_TO_WORST = (
    *(COMPLETED, CANCELLED, FAILED, DEAD_LETTER, TIMED_OUT, USAGE),
    *(NOT_AUTHORISED, CONFIGURATION, UNREACHABLE),
)
"""An outcome that is not known is worse than any that is."""
_BY_STATUS = {
    "completed": COMPLETED,
    "cancelled": CANCELLED,
    "dead_letter": DEAD_LETTER,
    "failed": FAILED,
    "timeout": FAILED,
}
_BY_ERROR = (
    (errors.ExecutionWaitTimeout, TIMED_OUT),
    (errors.ConfigurationError, CONFIGURATION),
    (errors.InvalidRequestError, USAGE),
    (errors.PlatformAuthenticationError, NOT_AUTHORISED),
    (errors.PlatformPermissionError, NOT_AUTHORISED),
    (errors.PlatformServerError, UNREACHABLE),
    (errors.PlatformRateLimitError, UNREACHABLE),
    (errors.PlatformStatusError, USAGE),
    (errors.PlatformClientError, UNREACHABLE),
    (OSError, IO),
)
"""The first that fits counts."""


def of_status(status: str) -> int:
    """Return the exit code of an execution's status; of one that has not ended, `TIMED_OUT`."""
    return _BY_STATUS.get(status.lower(), TIMED_OUT)


def of_error(error: BaseException) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), INTERNAL)


def worst(codes: Iterable[int]) -> int:
    """Return the worst of the exit codes that outcomes and errors have."""
    return max(codes, key=_FROM_BEST_TO_WORST.index, default=COMPLETED)
