"""Stopping a handler that runs in the main thread."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interrupted(BaseException):
    """The worker was told to stop and the grace period is over. No `except Exception` sees it."""


class Interrupts:
    """Turns SIGTERM into a wish, and after a grace period into an `Interrupted` in the main thread.

    Outside of `interruptible()` the main thread is interrupted nowhere. In other threads than the main one signals
    cannot be handled: there it is never requested.

    Attributes:
        requested: whether SIGTERM came.
    """

    def __init__(self) -> None:
        self._grace_seconds: float | None = None
        self.requested = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals within the block, and as before behind it."""
        try:
            before = signal.signal(signal.SIGTERM, self._on_term), signal.signal(signal.SIGALRM, self._on_alarm)
        except ValueError:  # not the main thread
            yield
            return
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGALRM, before[1])

    @contextmanager
    def interruptible(self, grace_seconds: float) -> Iterator[None]:
        """Let the block be interrupted.

        Args:
            grace_seconds: seconds between SIGTERM and `Interrupted`, and from one `Interrupted` to the next if the
                block goes on all the same.
        """
        self._grace_seconds = grace_seconds
        try:
            if self.requested:
                self._set_timer(grace_seconds)
            yield
        finally:
            self._grace_seconds = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_term(self, *_: Any) -> None:
        self.requested = True
        if self._grace_seconds is not None:
            self._set_timer(self._grace_seconds)

    def _on_alarm(self, *_: Any) -> None:
        if self._grace_seconds is not None:
            raise Interrupted(f"SIGTERM came, and {self._grace_seconds:g} s went by")

    @staticmethod
    def _set_timer(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
