"""What happens to open objects when the process forks, and when the interpreter exits."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from flow_client._core.log import say_at_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flow_client.errors import UndeliveredError


class ForkAware(Protocol):
    """Something that a process and its forked child cannot share: connections, locks that a thread may hold."""

    def after_fork_in_child(self) -> None:
        """Replace what belongs to the parent."""


class Closable(Protocol):
    """Something that must be closed before the interpreter exits."""

    def closing(self) -> Iterator[None]:
        """Close it in steps: each step starts what the next one waits for."""

    def take_failures(self) -> UndeliveredError | None:
        """Return what was lost and is not reported yet, if anything was."""


_fork_aware: WeakSet[ForkAware] = WeakSet()
_inherited: list[object] = []
_open: set[Closable] = set()


def renew_after_fork(thing: ForkAware) -> None:
    """Have `thing.after_fork_in_child` called in every forked child for as long as it lives."""
    _fork_aware.add(thing)


def never_finalise(thing: object) -> None:
    """Keep what a forked child inherited: finalising it would end the parent's connections."""
    _inherited.append(thing)


def close_at_exit(thing: Closable) -> None:
    """Have it closed when the interpreter exits, unless `no_longer_open` is called before."""
    _open.add(thing)


def no_longer_open(thing: Closable) -> None:
    """Undo `close_at_exit`."""
    _open.discard(thing)


def close_together(things: Iterable[Closable]) -> None:
    """Close all of them in the time that the slowest one takes."""
    under_way = [thing.closing() for thing in things]
    over = object()
    while under_way:
        under_way = [steps for steps in under_way if next(steps, over) is not over]


def is_exiting() -> bool:
    """Return whether the interpreter is exiting: what is open is being closed, and losses are reported there."""
    return _AtExit.has_begun


class _AtExit:
    """Closes everything: when the functions of `atexit` run, and again when all of them have run.

    A function that runs after this one may open something. If that is the first object of all, this one is registered
    too late to be called. But the interpreter drops its list of functions when it has run them all, while threads still
    run, and nothing else holds this object.
    """

    has_begun = False

    def __call__(self) -> None:
        _AtExit.has_begun = True
        things = list(_open)
        try:
            close_together(things)
        finally:  # an interrupt means that nobody wants to wait any longer
            _open.difference_update(things)
            _report_losses(things)

    def __del__(self) -> None:
        self()


def _report_losses(things: Iterable[Closable]) -> None:
    failures = [str(failure) for thing in things if (failure := thing.take_failures())]
    if failures:
        say_at_exit(f"at exit: {'; '.join(failures)}")


def _after_fork_in_child() -> None:
    for thing in list(_fork_aware):
        thing.after_fork_in_child()
    never_finalise(list(_open))  # closing them is the parent's business
    _open.clear()


atexit.register(_AtExit())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
