"""An exception as an output's error."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

LONGEST_TEXT = 32 * 1024

_OURS = str(Path(__file__).parents[1])


def failure(error: BaseException, kind: str, message: str | None = None) -> dict[str, Any]:
    """Return the content of an output that reports `error` under the name `kind`; `message` replaces its own."""
    described = traceback.TracebackException(type(error), error, _behind_ours(error.__traceback__))
    said = _sendable(message or str(described) or kind)[:LONGEST_TEXT]
    trace = _sendable("".join(described.format()))[-LONGEST_TEXT:]
    return {"output": None, "error": {"type": kind, "message": said, "traceback": trace}}


def _behind_ours(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the handler's first frame on; all of it if there is none."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next
    return first or trace


def _sendable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
