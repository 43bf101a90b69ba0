"""What an error of nats-py becomes, and whether it may pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from nats import errors as nats_errors
from nats.js import errors as js_errors

from flow_client._nats.jetstream import WRONG_LAST_SEQUENCE
from flow_client.errors import BridgeError, BridgeTimeoutError, PayloadTooLargeError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ResultT = TypeVar("ResultT")

NATS_ERRORS = (nats_errors.Error, OSError, asyncio.TimeoutError, ValueError)
"""Everything that nats-py raises."""
_MESSAGE_TOO_LARGE = 10054
_FINAL = (nats_errors.MaxPayloadError, nats_errors.BadSubjectError, nats_errors.BadHeaderError, ValueError)


class WrongSequenceError(BridgeError):
    """The subject's last message is not the expected one."""


def bridge_error(error: Exception, doing: str) -> BridgeError:
    """Return the `BridgeError` that says what `error` means for `doing`."""
    code = getattr(error, "err_code", None)
    if isinstance(error, nats_errors.MaxPayloadError) or code == _MESSAGE_TOO_LARGE:
        return PayloadTooLargeError(f"{doing}: the message is too large for NATS ({error})")
    if code in WRONG_LAST_SEQUENCE:
        return WrongSequenceError(f"{doing}: {error}")
    if isinstance(error, asyncio.TimeoutError):
        return BridgeTimeoutError(f"{doing}: NATS did not answer in time")
    return BridgeError(f"{doing}: {getattr(error, 'description', None) or text_of(error)}")


def is_transient(error: Exception) -> bool:
    """Return whether another attempt may succeed: after an election, a restart, a lost connection."""
    if isinstance(error, js_errors.APIError):
        return isinstance(error, js_errors.ServiceUnavailableError)
    return not isinstance(error, _FINAL)


def is_refused_login(error: Exception) -> bool:
    """Return whether the server does not accept who we are."""
    return "authorization violation" in str(error).lower()


def text_of(error: Exception) -> str:
    """Return the error's message, or the name of its class: many errors of nats-py have no message."""
    return str(error) or type(error).__name__


async def without_nats_errors(function: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
    """Return what `function(*args)` returns; raise a `BridgeError` where it raises an error of nats-py or asyncio."""
    try:
        return await function(*args)
    except PlatformClientError:
        raise
    except NATS_ERRORS as error:
        raise bridge_error(error, "talking to NATS") from error
