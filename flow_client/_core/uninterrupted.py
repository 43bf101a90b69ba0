"""Work that neither a signal handler nor a fork can break off half-way: imports, and the building of models.

Python runs signal handlers in the main thread only. A handler that raises during an import leaves half a module behind,
and a handler that needs the module finds that half. A fork during an import leaves the module locked for ever in the
child. So such work runs in a thread of its own, and a fork waits for it.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from flow_client._core.interruptible_future import InterruptibleFuture

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")

_at_work = threading.RLock()
"""Held by the thread that works, and by a thread that forks. No signal handler can meet one that works."""
_loaded: set[str] = set()


def load(module: str) -> None:
    """Import `module`, unless it was loaded in this way before."""
    if module not in _loaded:
        uninterrupted(partial(import_module, module))
        _loaded.add(module)


def uninterrupted(function: Callable[[], ResultT]) -> ResultT:
    """Return what `function` returns. If a signal handler raises meanwhile, `function` is completed all the same."""
    if _is_importing():
        return function()  # another thread might wait for the import that this one is in the middle of
    future: InterruptibleFuture[ResultT] = InterruptibleFuture()
    try:
        # Not `Thread.start`, which waits for the thread in a way that a signal handler can break.
        _thread.start_new_thread(_settle, (future, function))
    except RuntimeError:  # no thread can be started here
        return function()
    return future.result()


def _settle(future: InterruptibleFuture[ResultT], function: Callable[[], ResultT]) -> None:
    try:
        with _at_work:
            result = function()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result would be returned
        future.set_exception(error)
    else:
        future.set_result(result)


def _is_importing() -> bool:
    """Return whether the calling thread is in the middle of an import."""
    frame = sys._getframe()  # noqa: SLF001 - `inspect` would be one more import
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
    return False


def _after_fork_in_child() -> None:
    global _at_work  # noqa: PLW0603 - a lock is replaced
    _at_work = threading.RLock()


def _before_fork() -> None:
    _at_work.acquire()


def _after_fork_in_parent() -> None:
    _at_work.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
