"""Says what changed, as text for people and as JSON for programs."""

import json
from collections.abc import Iterable

from codegen.changes import PARTS, Change
from codegen.document import Schema

WARNING = "(\N{WARNING SIGN})"
"""The mark of what can break a caller."""


def exit_code(changes: Iterable[Change]) -> int:
    """Return 0 for no change, 1 for compatible ones, 2 if one can break a caller."""
    return max((2 if each.breaking else 1 for each in changes), default=0)


def title(live: Schema) -> str:
    """Return the name and version that a specification gives itself."""
    info = live.get("info") or {}
    return f"{info.get('title', 'The platform')} {info.get('version', '')}".strip()


def as_text(name: str, changes: list[Change], notes: list[str]) -> str:
    """Return the report for people: what can break a caller comes first in each part."""
    lines = [f"{name}: {_summary(changes)}"]
    for part in PARTS:
        found = sorted((each for each in changes if each.part == part), key=lambda each: not each.breaking)
        if found:
            lines += ["", part.title()]
            lines += [f"  {WARNING if each.breaking else '   '} {each.text}" for each in found]
    if notes:
        lines += ["", "Notes", *(f"      {each}" for each in notes)]
    return "\n".join(lines)


def as_json(name: str, changes: list[Change], notes: list[str]) -> str:
    """Return the report for programs."""
    found = [
        {
            "part": each.part,
            "rule": each.rule,
            "breaking": each.breaking,
            "attribute": each.attribute,
            "text": each.text,
        }
        for each in sorted(changes, key=lambda each: (PARTS.index(each.part), not each.breaking))
    ]
    said = {"platform": name, "exit_code": exit_code(changes), "changes": found, "notes": notes}
    return json.dumps(said, indent=2, ensure_ascii=False)


def _summary(changes: list[Change]) -> str:
    if not changes:
        return "nothing changed"
    breaking = sum(each.breaking for each in changes)
    parts = [f"{breaking} can break a caller {WARNING}"] if breaking else []
    compatible = len(changes) - breaking
    if compatible:
        parts.append(f"{compatible} compatible" if parts else f"{compatible} compatible change{'s' * (compatible > 1)}")
    return ", ".join(parts)
