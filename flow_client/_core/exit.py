"""What is still open when the interpreter exits is closed then, all of it together."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, Protocol

from flow_client._core.fork import never_finalise
from flow_client._core.log import say_at_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flow_client.errors import UndeliveredError


class ClosedAtExit(Protocol):
    """Something that must not be left open."""

    def closing(self) -> Iterator[None]:
        """Close it in steps: each of them starts what the next one waits for."""

    def take_failures(self) -> UndeliveredError | None:
        """Return what was lost and told to nobody yet, if anything was."""


_open: set[ClosedAtExit] = set()


def close_at_exit(thing: ClosedAtExit) -> None:
    """Have it closed at the interpreter's exit, unless it was closed before."""
    _open.add(thing)


def no_longer_open(thing: ClosedAtExit) -> None:
    """Take back `close_at_exit`."""
    _open.discard(thing)


def close_together(things: Iterable[ClosedAtExit]) -> None:
    """Close all of them in the time that the slowest one takes."""
    under_way = [thing.closing() for thing in things]
    over = object()
    while under_way:
        under_way = [steps for steps in under_way if next(steps, over) is not over]


def exit_has_begun() -> bool:
    """Return whether what is open is being closed, and what is lost is said, because the interpreter exits."""
    return _AtExit.has_begun


class _AtExit:
    """Closes everything: when the functions of `atexit` run, and again when all of them have run.

    A function that runs behind this one may open something. If that is the first thing of all, this one is registered
    too late to be called. But the interpreter drops its list of functions when it is through with it, while threads
    still run, and nothing else holds this object.
    """

    has_begun = False

    def __call__(self) -> None:
        _AtExit.has_begun = True
        things = list(_open)
        try:
            close_together(things)
        finally:  # an interrupt means that nobody wants to wait any more
            _open.difference_update(things)
            _say_what_is_lost(things)

    def __del__(self) -> None:
        self()


def _say_what_is_lost(things: Iterable[ClosedAtExit]) -> None:
    failures = [str(failure) for thing in things if (failure := thing.take_failures())]
    if failures:
        say_at_exit(f"at exit: {'; '.join(failures)}")


def _leave_to_parent() -> None:
    never_finalise(list(_open))
    _open.clear()


atexit.register(_AtExit())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
