"""Hints that executions have finished, and what happens when hints fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flow_client._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 30
"""How many ends the share of those that were heard of goes back."""
LEAST_UNHEARD = 0.1
"""However right hints have been, one in ten ends may come without."""


class CompletionHints(Protocol):
    """Tells of executions that are said to have finished. It may be wrong, and it may miss any of them."""

    @property
    def live(self) -> bool:
        """Whether it is listening, as far as is known."""

    def expect(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Have `tell(execution_id)` called, in any thread, when the execution is said to have finished."""

    def drop(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Take back one `expect`."""


class OptionalHints:
    """Hints that may be absent or fail: no future fails for want of them.

    Args:
        open_hints: returns the hints, None where there are none.
    """

    def __init__(self, open_hints: Callable[[], CompletionHints | None]) -> None:
        self._open_hints = open_hints
        self._hints: CompletionHints | None = None
        self._unheard = LEAST_UNHEARD

    def unheard(self) -> float:
        """Return the share of ends of which no hint tells, by those seen lately; 1 while nobody listens."""
        is_live = self._hints is not None and self._hints.live
        return max(LEAST_UNHEARD, self._unheard) if is_live else 1.0

    def note_end(self, *, was_heard: bool) -> None:
        """Note an end that a poll has found, and whether a hint had told of it."""
        self._unheard += (float(not was_heard) - self._unheard) / MEMORY

    def open(self) -> None:
        """Open the hints, also after they have failed."""
        try:
            self._hints = self._open_hints()
        except BaseException as error:  # noqa: BLE001 - see the class
            self._give_up(error)

    def expect(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Call the hints' `expect`, if there are hints."""
        if self._hints is not None:
            try:
                self._hints.expect(execution_id, tell)
            except BaseException as error:  # noqa: BLE001 - see the class
                self._give_up(error)

    def drop(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Call the hints' `drop`, if there are hints."""
        if self._hints is not None:
            try:
                self._hints.drop(execution_id, tell)
            except BaseException as error:  # noqa: BLE001 - see the class
                self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        self._hints = None
        logger.warning("listening for finished executions over NATS failed; futures fall back to HTTP: %r", error)
