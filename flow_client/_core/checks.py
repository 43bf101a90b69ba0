"""Checks of arguments. Their errors say what is wrong, with which value, and what to do."""

from __future__ import annotations

import threading
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flow_client.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from flow_client.errors import PlatformClientError

LONGEST_SECONDS = float(min(10**9, threading.TIMEOUT_MAX // 4))
"""The longest allowed duration, 31 years: locks, sleeps and timers accept it, and the sum of a few."""
HIGHEST_RATE = 1e6
"""The highest allowed rate, in times per second."""

_LONGEST_SHOWN = 200


def seconds(
    value: Any, name: str, error: type[PlatformClientError] = InvalidRequestError, *, zero: bool = False
) -> float:
    """Return `value`, a duration; raise `error` unless it is a number of seconds that can be waited for.

    Args:
        value: any real number, numpy's too. A whole number stays an int: it may be sent as JSON.
        name: what the message calls it.
        error: the class of the error.
        zero: whether 0 is allowed.
    """
    # NaN is neither above nor below anything.
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and 0 <= value <= LONGEST_SECONDS and (zero or value):
        return value if isinstance(value, int) else float(value)
    least = "at least 0" if zero else "above 0"
    raise error(f"{name} is {shown(value)}; it must be a number of seconds {least} and at most {LONGEST_SECONDS:.0f}")


def optional_seconds(value: object, name: str) -> float | None:
    """Return `value`, None for no limit; raise `InvalidRequestError` unless it is a duration."""
    return None if value is None else seconds(value, name)


def seconds_from_text(text: str, variable: str) -> float:
    """Return the duration that an environment variable holds; raise `ConfigurationError` unless it holds one."""
    try:
        number: object = float(text)
    except ValueError:
        number = text
    return seconds(number, variable, ConfigurationError)


def whole_number(value: object, name: str, error: type[PlatformClientError] = ConfigurationError) -> int:
    """Return `value`; raise `error` unless it is a whole number above 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise error(f"{name} is {shown(value)}; it must be a whole number above 0")


def rate(value: Any, name: str) -> float:
    """Return `value`, a rate in times per second; raise `ConfigurationError` unless it is usable."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and 1 / LONGEST_SECONDS <= value <= HIGHEST_RATE:
        return float(value)
    raise ConfigurationError(f"{name} is {shown(value)}; it must be a number above 0 and at most {HIGHEST_RATE:g}")


def version_text(value: object, name: str) -> str:
    """Return a version as text; raise `InvalidRequestError` unless it is text or a whole number, numpy's too."""
    is_number = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
    if is_number or isinstance(value, str):
        return str(value)
    raise InvalidRequestError(f"{name} is {shown(value)}; it must be a whole number such as 3, or text such as '1.2'")


def identifier(value: object, name: str, error: type[PlatformClientError] = ConfigurationError) -> str:
    """Return `value` as text without white space around it; raise `error` unless it is a `UUID` or a `str`."""
    if isinstance(value, (str, UUID)):
        return str(value).strip()
    raise error(f"{name} is {shown(value)}; it must be a UUID or a string")


def shown(value: object) -> str:
    """Return the text of `value` for a message; it may be long, and Python refuses to write huge integers."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a number too long to show ({type(value).__name__})"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
