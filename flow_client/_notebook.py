"""HTML of what a notebook shows of executions and errors.

Inline styles alone, since a notebook drops the rest; text takes the theme's colour, light or dark. Every value is
escaped and bounded in size.
"""

from __future__ import annotations

import html
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

GREEN, RED, GREY, BLUE = "#1a7f37", "#cf222e", "#6e7781", "#0969da"
"""Colours that white text can be read on, and that stand out from a white and from a black page."""
COLOURS = {"completed": GREEN, "failed": RED, "timeout": RED, "dead_letter": RED, "cancelled": GREY}
LONGEST_VALUE = 20_000
"""How many characters of a value are shown; a browser shows no gigabyte."""
LONGEST_MESSAGE = 1_000
LONGEST_LINE = 100
"""A value of one line up to so many characters stands beside its name."""
OPEN_LINES = 12
"""A value of up to so many lines is open at first."""

# A notebook would set $…$ in an output as a formula.
_CARD = (
    '<div class="flow-client mathjax_ignore tex2jax_ignore" style="border:1px solid rgba(128,128,128,.4);'
    "border-left:4px solid {colour};border-radius:4px;padding:.4em .8em;margin:.3em 0;max-width:60em;"
    'line-height:1.6">{parts}</div>'
)
_BADGE = (
    '<span style="background:{colour};color:#fff;border-radius:1em;padding:.1em .7em;font-size:.85em">{text}</span>'
)
_NAME = '<span style="opacity:.7">{text}</span>'
# One that does not fit into the line moves to the next as a whole.
_FACT = '<span style="display:inline-block;margin-right:1em">{name} {value}</span>'
_PRE = (
    '<pre style="white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;max-height:24em;overflow:auto;'
    'margin:.2em 0;padding:.4em .6em;background:rgba(128,128,128,.12);border-radius:3px">{text}</pre>'
)
_FOLDED = '<details{open}><summary style="cursor:pointer">{name}</summary>{content}</details>'
_MESSAGE = '<div style="white-space:pre-wrap;overflow-wrap:anywhere">{text}</div>'


class Handle(Protocol):
    """What is shown of a handle; further facts if it has them."""

    @property
    def execution_id(self) -> str: ...


class Record(Handle, Protocol):
    """What is shown of a record; further fields if it has them."""

    status: str
    error: Any

    @property
    def model_extra(self) -> dict[str, Any] | None: ...


def handle_card(handle: Handle, status: str | None, seen: str) -> str:
    """Return what a handle knows by itself; `seen` says where its `status` comes from."""
    names = ("idempotency_key", "workspace_id", "base_url")
    known = {name: getattr(handle, name) for name in names if getattr(handle, name) is not None}
    return _card(
        _colour(status),
        _line([_title(handle.execution_id), "" if status is None else f"{_badge(status)} {_NAME.format(text=seen)}"]),
        _line([_fact(name.replace("_", " "), _code(known[name])) for name in known]),
    )


def record_card(record: Record) -> str:
    """Return the record's status, times and values."""
    values = {name: getattr(record, name, None) for name in ("usage", "messages", "state", "metrics")}
    values["further fields"] = record.model_extra or None
    return _card(
        _colour(record.status),
        _line([_title(record.execution_id), _badge(record.status)]),
        _line(_times(record)),
        *_failure(record.error),
        *_values({"output": getattr(record, "output", None)}),
        *_values(values, is_open=False),
    )


def error_card(error: Exception) -> str:
    """Return what the error says and knows, and its record if it has one."""
    known = {name: value for name, value in vars(error).items() if value is not None and not name.startswith("_")}
    record = known.pop("record", None)
    if record is not None and record.execution_id == known.get("execution_id"):
        del known["execution_id"]
    values = {name.replace("_", " "): known.pop(name) for name in ("detail", "raw") if name in known}
    for name in known.keys() & {"elapsed", "retry_after"}:
        known[name] = span(known[name])
    return _card(
        RED,
        _line([_badge(type(error).__name__, RED)]),
        _MESSAGE.format(text=_escaped(error, LONGEST_MESSAGE)),
        _line([_fact(name.replace("_", " "), _code(known[name])) for name in known]),
        *_values(values),
        "" if record is None else record_card(record),
    )


def span(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - the clock's own numbers
        return f"{seconds:.1f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds % 60)} s"


def _colour(status: str | None) -> str:
    """Return the status' colour; one that is not known has not ended."""
    return GREY if status is None else COLOURS.get(status.lower(), BLUE)


def _times(record: Record) -> list[str]:
    """Return how long the execution waited and ran, as far as it is known, and when that was."""
    created, started, finished = (_time(record, name) for name in ("created_at", "started_at", "finished_at"))
    facts = [
        _fact(name, span((end - begin).total_seconds()))
        for name, begin, end in (
            ("waited", created, started),
            ("ran", started, finished),
            ("took", None if started else created, finished),
        )
        # The platform's clocks may differ.
        if begin is not None and end is not None and begin <= end
    ]
    for name, moment in (("finished", finished), ("started", started), ("created", created)):
        if moment is not None:
            return [*facts, _fact(name, f"{moment:%Y-%m-%d %H:%M:%S %Z}")]
    return facts


def _time(record: Record, name: str) -> datetime | None:
    """Return one of the record's times, in UTC if it has no zone; None if it is missing or stands for no time."""
    value = getattr(record, name, None)
    if not isinstance(value, datetime) or value.year <= 1:
        return None
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _failure(error: Any) -> list[str]:
    """Return an execution's error; the worker's own has a type, a message and a traceback."""
    if not isinstance(error, dict) or not {"type", "message"} <= error.keys():
        return _values({"error": error})
    rest = {name: value for name, value in error.items() if name not in {"type", "message"}}
    return [*_values({"error": f"{error['type']}: {error['message']}"}), *_values(rest, is_open=False)]


def _values(values: dict[str, Any], *, is_open: bool = True) -> list[str]:
    return [_value(name, value, is_open=is_open) for name, value in values.items() if value is not None]


def _value(name: str, value: Any, *, is_open: bool) -> str:
    """Return a value beside its name, or folded below it."""
    line = _text(value, LONGEST_LINE)
    if len(line) <= LONGEST_LINE and "\n" not in line:
        return _line([_fact(name, _code(line))])
    text = _text(value, LONGEST_VALUE, indent=2)
    lines = text.count("\n") + 1
    size = "" if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") else f" ({len(value)})"
    return _FOLDED.format(
        open=" open" if is_open and lines <= OPEN_LINES else "",
        name=_NAME.format(text=_escaped(name + size)),
        content=_PRE.format(text=_escaped(text, LONGEST_VALUE)),
    )


def _text(value: Any, limit: int, indent: int | None = None) -> str:
    """Return text as it is and anything else as JSON, at most a little beyond the limit."""
    if isinstance(value, bytes):
        return value[: limit + 1].decode(errors="replace")
    if isinstance(value, str):
        return str(value)[: limit + 1]
    return _head(json.JSONEncoder(indent=indent, ensure_ascii=False, default=str).iterencode(value), limit)


def _head(chunks: Iterable[str], limit: int) -> str:
    """Join the chunks until they are longer than the limit."""
    head, length = [], 0
    for chunk in chunks:
        head.append(chunk)
        length += len(chunk)
        if length > limit:
            break
    return "".join(head)


def _card(colour: str, *parts: str) -> str:
    return _CARD.format(colour=colour, parts="".join(parts))


def _line(parts: list[str]) -> str:
    return f"<div>{' '.join(parts)}</div>" if parts else ""


def _title(execution_id: str) -> str:
    return f"<strong>Execution</strong> {_code(execution_id)}"


def _badge(text: str, colour: str | None = None) -> str:
    return _BADGE.format(colour=colour or _colour(text), text=_escaped(text))


def _code(value: Any) -> str:
    return f"<code>{_escaped(value)}</code>"


def _fact(name: str, value: str) -> str:
    return _FACT.format(name=_NAME.format(text=_escaped(name)), value=value)


def _escaped(value: Any, limit: int = LONGEST_MESSAGE) -> str:
    """Return the value's text, cut at the limit and escaped."""
    text = str(value)  # of a secret, that is a mask
    if len(text) > limit:
        text = f"{text[:limit]} … (cut after {limit:,} characters)"
    # A lone surrogate cannot be sent to the notebook.
    return html.escape(text.encode(errors="replace").decode())
