"""Where an exception comes from, and which frames of its traceback help the reader."""

from __future__ import annotations

import inspect
import sys
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING

from flow_client.errors import PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_INTERNAL = sys.stdlib_module_names | {"flow_client", "requests", "urllib3", "tenacity", "pydantic", "pydantic_core"}


def interruption(error: BaseException, handled_before: BaseException | None) -> BaseException | None:
    """Return the exception that a signal handler raised, be it `error` itself or one that a library wrapped in it.

    The type does not tell: many handlers raise `TimeoutError`, as sockets do.

    Args:
        error: what a library raised.
        handled_before: the exception that the caller was already handling; it is in `error`'s context too.
    """
    for each in _chain(error, handled_before):
        if not isinstance(each, Exception) or (not _is_wrapper(each) and raised_by_signal_handler(each)):
            return each
    return None


def raised_by_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised `error`: it ends what is going on, whatever its type."""
    return any(_is_signal_handler(frame) for frame, _ in traceback.walk_tb(error.__traceback__))


def trim_traceback(error: BaseException) -> None:
    """Remove the frames between the one that caught `error` and the first that is neither ours nor a library's.

    If there is none of those, an error that speaks for itself keeps only the first frame. Any other error is a bug, and
    keeps all frames.
    """
    caught = error.__traceback__
    frames = caught.tb_next if caught else None
    while frames is not None and _is_internal(frames.tb_frame):
        frames = frames.tb_next
    speaks_for_itself = isinstance(error, PlatformClientError) or not isinstance(error, Exception)
    if caught is not None and (frames is not None or speaks_for_itself):
        # In place: Python 3.10 raises again with the traceback that it caught, whatever `__traceback__` is set to.
        caught.tb_next = frames


def _chain(error: BaseException | None, end: BaseException | None) -> Iterator[BaseException]:
    pending, seen = [error], {None, end}
    while pending:
        each = pending.pop()
        if each is None or each in seen:
            continue
        seen.add(each)
        yield each
        pending += [each.__context__, each.__cause__]


def _is_wrapper(error: BaseException) -> bool:
    """Return whether it is a library's own exception: urllib3's have the frames of what they wrap."""
    return type(error).__module__.partition(".")[0] in ("requests", "urllib3")


def _is_signal_handler(frame: FrameType) -> bool:
    """Return whether the function was called with a number and its caller's frame, as only signal handlers are."""
    names, rest, _, values = inspect.getargvalues(frame)
    arguments = [*(values.get(name) for name in names), *(values.get(rest or "") or ())]
    return any(isinstance(number, int) and caller is frame.f_back for number, caller in pairwise(arguments))


def _is_internal(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _INTERNAL
