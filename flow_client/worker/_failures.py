"""Turns an exception into the error of an output."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

LONGEST_TEXT = 32 * 1024

_OURS = str(Path(__file__).parents[1])


def failure(error: BaseException, kind: str, message: str | None = None) -> dict[str, Any]:
    """Return an output that reports `error`.

    Args:
        error: what was raised.
        kind: the error's `type`.
        message: the error's `message`; that of the exception if None.
    """
    described = traceback.TracebackException(type(error), error, _without_our_frames(error.__traceback__))
    said = _sendable(message or str(described) or kind)[:LONGEST_TEXT]
    trace = _sendable("".join(described.format()))[-LONGEST_TEXT:]
    return {"output": None, "error": {"type": kind, "message": said, "traceback": trace}}


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the handler's first frame on; the whole traceback if the handler has no frame."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next
    return first or trace


def _sendable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
