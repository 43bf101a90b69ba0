"""Dates and times as the text that stands for them in JSON."""

from __future__ import annotations

from datetime import date, datetime, time, timezone


def iso_text(moment: date | time) -> str:
    """Return `moment` in ISO 8601, with `Z` for UTC, as pydantic writes it."""
    text = moment.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(timezone.utc)
