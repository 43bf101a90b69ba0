"""Values on the command line: JSON as it is, from a file (`@FILE`), or from standard input (`-`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


class JsonValue(click.ParamType):  # type: ignore[type-arg] # older versions of click have none
    """A parameter that is any JSON value."""

    name = "json|@file|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that the text, the file or standard input holds."""
        if not isinstance(value, str):
            return value
        try:
            return _parsed(_text(value))
        except OSError as error:
            self.fail(f"{value[1:]!r} cannot be read: {error.strerror}", param, ctx)
        except ValueError as error:
            place = (
                "what standard input holds"
                if value == "-"
                else f"what {value[1:]!r} holds"
                if value[:1] == "@"
                else repr(value)
            )
            self.fail(f"{place} is not JSON: {error}", param, ctx)


class Seconds(click.ParamType):  # type: ignore[type-arg] # as above
    """A parameter that is a duration.

    Args:
        zero: whether 0 makes sense.
    """

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seconds, as a whole number if it is one."""
        from flow_client._core.checks import seconds
        from flow_client.errors import InvalidRequestError

        try:
            number = float(value)
            return seconds(int(number) if number.is_integer() else number, "it", zero=self._zero)
        except (ValueError, InvalidRequestError):
            least = "at least 0" if self._zero else "above 0"
            self.fail(f"{value!r} is not a number of seconds {least}", param, ctx)


class JsonObject(JsonValue):
    """A parameter that is a JSON object."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the object that the text, the file or standard input holds."""
        found = super().convert(value, param, ctx)
        if not isinstance(found, dict):
            self.fail('it must be a JSON object like {"name": "value"}', param, ctx)
        return found


def _parsed(text: str) -> Any:
    import json

    return json.loads(text)


def _text(value: str) -> str:
    if value == "-":
        if sys.stdin is None:
            raise OSError(9, "standard input is closed")
        return sys.stdin.read()
    return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
