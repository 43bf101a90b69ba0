"""Finds our operations in a live document by method and path; the names of path parameters do not matter."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from codegen.document import Schema, SpecError, operation_places, resolve

HOLE = re.compile(r"\{[^{}]*\}")
SHOWN = 12


@dataclass(frozen=True)
class Place:
    """Where a document has an operation."""

    path: str
    method: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class Found:
    """One of our operations, its place in the live document, and the path to call it at."""

    ours: Place
    live: Place | None
    path: str


@dataclass(frozen=True)
class Matches:
    """Our operations, and the live document's other ones."""

    found: tuple[Found, ...]
    others: tuple[Place, ...]


def match(live: Schema, lock: Schema) -> Matches:
    """Return where `live` has the operations of `lock`.

    Raises:
        SpecError: it has none of them, or has them under several roots.
    """
    ours = [Place(*place) for place in operation_places(lock)]
    theirs = {place: _full_path(live, place) for place in _declared(live)}
    root = _root(each.path for each in ours)
    live_root = _live_root(ours, root, theirs)
    found = tuple(_found(each, live_root + each.path[len(root) :], theirs) for each in ours)
    if all(each.live is None for each in found):
        raise SpecError(_nothing_found(ours, theirs))
    matched = {each.live for each in found}
    return Matches(found, tuple(place for place in theirs if place not in matched))


def blank(path: str) -> str:
    """Return `path` without its parameters' names and without a slash at the end."""
    return HOLE.sub("{}", path).rstrip("/")


def _declared(live: Schema) -> list[Place]:
    places = [Place(*place) for place in operation_places(live)]
    return [each for each in places if not resolve(live, live["paths"][each.path])[each.method].get("x-undeclared")]


def _full_path(live: Schema, place: Place) -> str:
    """Return the path on the host: the server's own path comes first."""
    item = resolve(live, live["paths"][place.path])
    servers = item[place.method].get("servers") or item.get("servers") or live.get("servers") or [{}]
    return urlsplit(str(servers[0].get("url", ""))).path.rstrip("/") + place.path


def _root(paths: Iterable[str]) -> str:
    """Return what all paths begin with, in whole segments without parameters."""
    split = [each.split("/") for each in paths]
    common = []
    for segments in zip(*split, strict=False):
        if len(set(segments)) > 1 or "{" in segments[0]:
            break
        common.append(segments[0])
    return "/".join(common)


def _live_root(ours: list[Place], root: str, theirs: dict[Place, str]) -> str:
    """Return the live document's counterpart of our `root`: the prefix of most of our operations there."""
    counts: dict[str, int] = {}
    for each in ours:
        tail = blank(each.path[len(root) :])
        ends = [blank(path) for place, path in theirs.items() if place.method == each.method]
        for path in ends:
            if path.endswith(tail) and "{" not in path[: -len(tail)]:
                counts[path[: -len(tail)]] = counts.get(path[: -len(tail)], 0) + 1
    best = [each for each, count in counts.items() if count == max(counts.values())]
    if root in counts or not best:
        return root
    if len(best) > 1:
        raise SpecError(
            f"the operations exist under several roots: {', '.join(sorted(best))}; publish only one of them"
        )
    return best[0]


def _found(ours: Place, path: str, theirs: dict[Place, str]) -> Found:
    live = [place for place, full in theirs.items() if place.method == ours.method and blank(full) == blank(path)]
    if not live:
        return Found(ours, None, path)
    names = iter(HOLE.findall(path))
    return Found(ours, live[0], HOLE.sub(lambda _: next(names), theirs[live[0]]))


def _nothing_found(ours: list[Place], theirs: dict[Place, str]) -> str:
    looked_for = "\n  ".join(map(str, ours))
    there = [f"{place.method.upper()} {path}" for place, path in theirs.items()]
    more = f"\n  and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    return (
        f"the specification has none of the client's operations.\n"
        f"Looked for:\n  {looked_for}\nIt has:\n  " + ("\n  ".join(there[:SHOWN]) or "none") + more
    )
