"""What must begin anew in a forked child: connections, and locks that another thread may have held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """Something that cannot be shared by a process and its forked child."""

    def after_fork_in_child(self) -> None:
        """Replace what the parent goes on using."""


_living: WeakSet[ForkAware] = WeakSet()
_inherited: list[object] = []


def renew_after_fork(thing: ForkAware) -> None:
    """Have `thing.after_fork_in_child` called in every forked child for as long as it lives."""
    _living.add(thing)


def never_finalise(thing: object) -> None:
    """Keep what a forked child inherited: to finalise it would end the parent's connections."""
    _inherited.append(thing)


def _renew_all() -> None:
    for thing in list(_living):
        thing.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
