"""The rows of a benchmark and how they are shown."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Row:
    """One figure: what was done, against what, the target, ours, the peer's and the ratio of the two.

    `holds` is None where there is no target: the row is there to be known.
    """

    work: str
    against: str
    target: str
    ours: str
    peer: str
    ratio: str
    holds: bool | None


HEAD = ("work", "against", "target", "ours", "peer", "ratio", "holds")
_HOLDS = {True: "yes", False: "NO", None: ""}


def show(rows: list[Row]) -> None:
    """Print `rows` as one table."""
    lines = [HEAD, *((*astuple(row)[:-1], _HOLDS[row.holds]) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
