"""The list of all executions, the newest first, kept in memory from the records' stream."""

from __future__ import annotations

import base64
import json
from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from flow_client.local.state.records import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_Key = tuple[str, str]
"""When an execution was created, and its id."""


class CursorError(ValueError):
    """A cursor is not one that this platform gave out."""


@dataclass(frozen=True)
class Entry:
    """What a list shows of an execution."""

    execution_id: str
    status: str
    kind: str
    component_id: str
    created_at: str
    started_at: str | None
    finished_at: str | None

    @classmethod
    def of(cls, record: Record) -> Entry:
        """Return the entry of a record."""
        return cls(
            record.execution_id,
            record.status,
            record.kind,
            record.component_id,
            record.created_at,
            record.started_at,
            record.finished_at,
        )

    @property
    def key(self) -> _Key:
        """What entries are sorted by."""
        return self.created_at, self.execution_id


@dataclass(frozen=True)
class Filter:
    """Which executions are listed; an empty field admits all.

    `statuses` are in lower case.
    """

    statuses: Collection[str] = ()
    kind: str | None = None
    component_id: str | None = None

    def admits(self, entry: Entry) -> bool:
        """Return whether `entry` is listed."""
        return (
            (not self.statuses or entry.status in self.statuses)
            and self.kind in (None, entry.kind)
            and self.component_id in (None, entry.component_id)
        )


@dataclass(frozen=True)
class Page:
    """One page of a list. `next_cursor` asks for the next one; None on the last."""

    entries: list[Entry]
    next_cursor: str | None


class Catalogue:
    """The executions of each workspace. Each process of the API has its own, fed with every change of every record."""

    def __init__(self) -> None:
        self._workspaces: dict[tuple[str, str], _Workspace] = {}

    def take(self, data: bytes) -> None:
        """Take in a record as it is stored; the records come in any order, each as often as it changes."""
        record = Record.from_bytes(data)
        workspace = self._workspaces.setdefault((record.org_id, record.workspace_id), _Workspace())
        workspace.put(Entry.of(record))

    def page(self, org_id: str, workspace_id: str, wanted: Filter, limit: int, cursor: str | None) -> Page:
        """Return up to `limit` executions of a workspace, the newest first, from `cursor` on.

        Raises:
            CursorError: this platform did not give `cursor` out.
        """
        workspace = self._workspaces.get((org_id, workspace_id), _Workspace())
        before = None if cursor is None else _key_of(cursor)
        admitted = (entry for entry in workspace.newest_first(before) if wanted.admits(entry))
        entries = list(islice(admitted, limit))
        # One more says whether there is a next page.
        return Page(entries, _cursor_of(entries[-1]) if next(admitted, None) is not None else None)


class _Workspace:
    def __init__(self) -> None:
        self._keys: list[_Key] = []
        self._entries: dict[_Key, Entry] = {}

    def put(self, entry: Entry) -> None:
        if entry.key not in self._entries:
            insort(self._keys, entry.key)
        self._entries[entry.key] = entry

    def newest_first(self, before: _Key | None) -> Iterator[Entry]:
        end = len(self._keys) if before is None else bisect_left(self._keys, before)
        return (self._entries[self._keys[index]] for index in range(end - 1, -1, -1))


def _cursor_of(entry: Entry) -> str:
    return base64.urlsafe_b64encode(json.dumps(entry.key).encode()).decode()


def _key_of(cursor: str) -> _Key:
    try:
        created_at, execution_id = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError, RecursionError) as error:
        raise CursorError("is not a cursor of this platform; start again without one") from error
    return str(created_at), str(execution_id)
