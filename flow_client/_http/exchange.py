"""How long a call's requests may take, and how far they have come."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_client._core.tracebacks import interruption

if TYPE_CHECKING:
    from flow_client._core.deadline import Deadline

LONGEST_SOCKET_WAIT = 2_000_000.0
"""Seconds: poll() counts milliseconds in 32 bits, and one that overflows ends at once. It is 23 days."""


@dataclass
class HttpExchange:
    """One call's requests and their answers.

    Attributes:
        deadline: the limit of all attempts together.
        stage: what is being waited for; see `PlatformConnectionError`.
        request_sent: whether any attempt may have sent the request.
        observed: whether our own connections note `stage` and `request_sent`. Somebody else's adapter does not.
        connecting: the limit of an attempt to connect, while there is one.
        handled_before: the exception that the caller was already handling.
    """

    deadline: Deadline
    stage: str = "connect"
    request_sent: bool = False
    observed: bool = True
    connecting: Deadline | None = None
    handled_before: BaseException | None = None

    def interruption(self, error: BaseException) -> BaseException | None:
        """Return what a signal handler raised, if `error` is that or was caused by it."""
        return interruption(error, self.handled_before)

    def remaining(self) -> float:
        """Return the seconds that are left; raise `TimeoutError` when there are none."""
        left = (self.connecting or self.deadline).remaining()
        if left <= 0:
            raise TimeoutError("the time is up")
        return min(left, LONGEST_SOCKET_WAIT)


# Greenlets and threads each have a context of their own, whatever was patched when.
current: ContextVar[HttpExchange] = ContextVar("flow_client_exchange")
