"""Hints that executions have finished, and what happens when hints fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flow_client._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable


class CompletionHints(Protocol):
    """Tells of executions that are said to have finished. It may be wrong, and it may miss any of them."""

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
