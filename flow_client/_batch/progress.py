"""The progress bar of a `map`: the only file that imports tqdm."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from flow_client.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

REFRESH_SECONDS = 1.0


class Progress:
    """Follows the executions of a batch. This one shows nothing.

    Attributes:
        refresh_seconds: seconds after which `show` must be called again; None if it need not be.
    """

    refresh_seconds: float | None = None

    def note(self, *, is_completed: bool) -> None:
        """Count one more that has ended."""

    def show(self) -> None:
        """Show how many have ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the showing."""


class _Bar(Progress):
    """A bar of what has ended, yielded or not, drawn by the thread that reads the records.

    A thread of its own would draw into the caller's output, and a notebook would not show it.
    """

    refresh_seconds = REFRESH_SECONDS

    def __init__(self, bars: Any, total: int | None) -> None:
        self._bars = bars
        self._total = total
        self._ended = 0
        self._failed = 0
        self._due = 0.0

    def note(self, *, is_completed: bool) -> None:
        self._ended += 1
        self._failed += not is_completed

    def show(self) -> None:
        if self._failed:
            self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
        ended, self._ended = self._ended, 0
        if ended:
            self._bar.update(ended)
        elif time.monotonic() >= self._due:
            self._bar.refresh()  # keeps its clock running
            self._due = time.monotonic() + REFRESH_SECONDS

    def __enter__(self) -> Self:
        # By default tqdm learns from the pace so far how often to draw, and executions have no steady pace.
        self._bar = self._bars(total=self._total, miniters=1)
        self._due = time.monotonic() + REFRESH_SECONDS
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def progress_of(inputs: Iterable[Any], wanted: bool) -> Progress:  # noqa: FBT001 - it is the caller's argument
    """Return a bar, or a silent `Progress` if none is wanted or nobody would see it.

    Raises:
        InvalidRequestError: `wanted` is neither True nor False.
        ConfigurationError: tqdm is not installed.
    """
    if not isinstance(wanted, bool):
        raise InvalidRequestError(f"progress is {wanted!r}; it must be True or False")
    if not wanted:
        return Progress()
    bars = _bars()
    return _Bar(bars, _length(inputs)) if _is_seen() else Progress()


def _bars() -> Any:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - only a bar needs it
    except ImportError as error:
        raise ConfigurationError("progress=True needs tqdm: pip install 'flow-client[progress]'") from error
    return tqdm


def _is_seen() -> bool:
    """Return whether there is a terminal or a notebook to draw in."""
    # This is how tqdm tells a notebook too.
    return "ipykernel.zmqshell" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def _length(inputs: Iterable[Any]) -> int | None:
    try:
        return len(inputs)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return None
