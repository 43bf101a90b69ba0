"""What a command prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
"""The version of what `--json` prints. A field that is added does not change it."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """Prints as the options say.

    Args:
        is_json: whether results are JSON, one object a line.
        is_quiet: whether notes are left out.
    """

    def __init__(self, *, is_json: bool, is_quiet: bool = False) -> None:
        self.is_json = is_json
        self._is_quiet = is_quiet

    def text(self, line: str) -> None:
        """Print a line of a result for people."""
        self._write(printable(line))

    def line(self, text: str) -> None:
        """Print a line of JSON as it is."""
        self._write(text)

    def raw(self, text: str) -> None:
        """Print text of a program's as it is; on a terminal without what the terminal would take for a command."""
        self._write((printable(text) if is_terminal(sys.stdout) else text).removesuffix("\n"))

    def value(self, value: Any) -> None:
        """Print a JSON value for people, and for scripts that want nothing else."""
        self._write(json_text(value, indent=2))

    def json(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Print one object for scripts; its `$schema` says what it is, and no field of the platform has that name."""
        self._write(json_text({"$schema": f"flow-client/{kind}/{SCHEMA}", **fields}))

    def note(self, message: str, *, is_important: bool = False) -> None:
        """Say something on standard error; an important note is not kept quiet."""
        if is_important or not self._is_quiet:
            _say(printable(message))

    def error(self, message: str) -> None:
        """Say on standard error what went wrong."""
        _say(f"flow-client: {printable(message)}", colour=31)

    def _write(self, text: str) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        _encodable(sys.stdout).write(f"{text}\n")
        # Line by line, so that whoever reads has each as soon as it is known.
        sys.stdout.flush()


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON that can be written as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: str) -> str:
    """Return text from elsewhere without what a terminal would take for a command."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a person may be looking at the stream."""
    return stream is not None and stream.isatty()


def has_colour(stream: IO[str] | None) -> bool:
    """Return whether the stream is a terminal that shows colours, and nobody has asked for none (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _say(line: str, colour: int | None = None) -> None:
    if sys.stderr is None:
        return
    is_coloured = colour is not None and has_colour(sys.stderr)
    sys.stderr.write(f"\x1b[{colour}m{line}\x1b[0m\n" if is_coloured else f"{line}\n")
    sys.stderr.flush()


def _encodable(stream: TextIO) -> TextIO:
    """Return the stream; it writes UTF-8, whatever the locale says, since that is what JSON is."""
    if (stream.encoding or "").lower().replace("-", "") != "utf8" and isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8")
    return stream
