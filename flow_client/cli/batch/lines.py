"""The lines of inputs."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class InputLine:
    """An input: its number among the inputs from 0, its value, and a digest of its line."""

    position: int
    value: dict[str, Any]
    digest: str


def read(source: str) -> Iterator[InputLine]:
    """Yield the inputs of a file, or of standard input for `-`. Empty lines are none.

    Raises:
        InvalidRequestError: a line is not a JSON object; the message has its number.
        OSError: the file cannot be read.
    """
    if source == "-":
        yield from _inputs(sys.stdin.buffer, "standard input")
        return
    with Path(source).open("rb") as file:
        yield from _inputs(file, source)


def count(source: str) -> int | None:
    """Return how many inputs there are, once all of them are found to be valid; None for what is read only once."""
    if source == "-" or not Path(source).is_file():
        return None
    return sum(1 for _ in read(source))


def _inputs(lines: Iterable[bytes], name: str) -> Iterator[InputLine]:
    position = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text:
            yield InputLine(position, _value(text, name, number), hashlib.sha256(text).hexdigest()[:16])
            position += 1


def _value(text: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(f"line {number} of {name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequestError(f'line {number} of {name} must be a JSON object like {{"name": "value"}}')
    return value
