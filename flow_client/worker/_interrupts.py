"""Stops a handler that runs in the main thread."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_AT_ONCE = 1e-6
# Windows has none of these.
_SIGALRM: Any = getattr(signal, "SIGALRM", None)
_ITIMER_REAL: Any = getattr(signal, "ITIMER_REAL", None)
_setitimer: Any = getattr(signal, "setitimer", None)


class Interrupted(BaseException):
    """The worker was told to stop and the grace period is over. `except Exception` does not catch it."""


class Interrupts:
    """Turns SIGTERM into a request to stop, and after a grace period into an `Interrupted` in the main thread.

    The process's timer and its handler of SIGALRM are borrowed only while an interrupt is due, and restored afterwards.
    The main thread is interrupted only within `interruptible()`. Only the main thread can handle signals: in another
    thread this does nothing, and `requested` stays False. Where a system has no such timer (Windows), SIGTERM remains a
    request.

    Attributes:
        requested: whether SIGTERM was received.
    """

    def __init__(self) -> None:
        self._grace_seconds: float | None = None
        self._borrowed: _Alarm | None = None
        self.requested = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle SIGTERM within the block; restore its former handler afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._on_term)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)

    @contextmanager
    def interruptible(self, grace_seconds: float) -> Iterator[None]:
        """Allow the block to be interrupted.

        Args:
            grace_seconds: seconds between SIGTERM and `Interrupted`, and between one `Interrupted` and the next if the
                block goes on regardless.
        """
        self._grace_seconds = grace_seconds
        try:
            if self.requested:
                self._set_alarm(grace_seconds)
            yield
        finally:
            self._grace_seconds = None
            self._restore_alarm()

    def _on_term(self, *_: Any) -> None:
        self.requested = True
        if self._grace_seconds is not None:
            self._set_alarm(self._grace_seconds)

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        ending = frame is not None and frame.f_code.co_filename == __file__
        if self._grace_seconds is not None and not ending:
            raise Interrupted(f"the handler was still running {self._grace_seconds:g} s after SIGTERM")

    def _set_alarm(self, seconds: float) -> None:
        if _setitimer is None:
            return
        if self._borrowed is None:
            self._borrowed = _Alarm(self._on_alarm)
        _setitimer(_ITIMER_REAL, seconds, seconds)

    def _restore_alarm(self) -> None:
        borrowed, self._borrowed = self._borrowed, None
        if borrowed is not None:
            borrowed.restore()


class _Alarm:
    """The process's own timer and handler of SIGALRM, kept while `handler` replaces it."""

    def __init__(self, handler: Any) -> None:
        self._due, self._interval = _setitimer(_ITIMER_REAL, 0)
        self._since = time.monotonic()
        self._handler = signal.signal(_SIGALRM, handler)

    def restore(self) -> None:
        """Restore both; a timer that would have gone off in the meantime goes off now."""
        _setitimer(_ITIMER_REAL, 0)
        signal.signal(_SIGALRM, signal.SIG_DFL if self._handler is None else self._handler)
        if self._due:
            left = self._due - (time.monotonic() - self._since)
            _setitimer(_ITIMER_REAL, max(left, _AT_ONCE), self._interval)
