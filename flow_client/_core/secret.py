"""A string that shows itself to nobody but the socket."""

from __future__ import annotations

from typing import NoReturn

MASK = "**********"


class Secret(str):
    """A string whose text comes out by `encode()` and `reveal()` alone.

    Printed, formatted, logged or shown as a local variable of a traceback it is a mask, and it does not pickle.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """Return the text itself."""
        return self[:]

    def with_prefix(self, prefix: str) -> Secret:
        """Return a secret of `prefix` and this one."""
        return Secret(prefix + self[:])

    def __repr__(self) -> str:
        return repr(MASK)

    def __str__(self) -> str:
        return MASK

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token is not pickled: create the client in the process that uses it")
