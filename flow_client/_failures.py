"""An exception as an output's error."""

from __future__ import annotations

import traceback
from typing import Any

LONGEST_TEXT = 32 * 1024


def failure(error: BaseException, kind: str) -> dict[str, Any]:
    """Return the content of an output that reports `error` under the name `kind`."""
    described = traceback.TracebackException.from_exception(error)
    message = _sendable(str(described) or kind)[:LONGEST_TEXT]
    trace = _sendable("".join(described.format()))[-LONGEST_TEXT:]
    return {"output": None, "error": {"type": kind, "message": message, "traceback": trace}}


def _sendable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
