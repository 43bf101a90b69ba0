"""Numbers an execution's events 1, 2, 3 and so on, whichever process writes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flow_client._core import jsontext
from flow_client._nats.payloads import EventDraft
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from flow_client._nats.outbox.backlog import Message
    from flow_client._nats.store import Stored

LONGEST_MEMORY = 1024
"""Limit on the subjects remembered between two runs. A forgotten one is read again when it is needed."""


@dataclass(frozen=True)
class _Last:
    """A subject's last known event and its position in the stream; if `stale`, there may be later ones."""

    number: int
    position: int | None
    stale: bool = False


class Sequences:
    """The last known stored event of each subject, least recently used first."""

    def __init__(self) -> None:
        self._known: dict[str, _Last] = {}

    def unknown(self, messages: Iterable[Message]) -> set[str]:
        """Return the subjects of those events whose last stored predecessor must be read first."""
        subjects = {message.subject for message in messages if isinstance(message.content, EventDraft)}
        return {subject for subject in subjects if subject not in self._known or self._known[subject].stale}

    def read(self, subject: str, last: Stored | None) -> None:
        """Note the subject's last stored event, None if it has none.

        Raises:
            BridgeError: the event has no sequence number, so this client did not write it.
        """
        before = self._known.get(subject, _Last(0, None)).number
        number, position = (0, 0) if last is None else (_number(last), last.stream_sequence)
        self._note(subject, _Last(max(before, number), position))

    def position(self, subject: str) -> int | None:
        """Return the stream sequence of the last event: 0 if there is no event, None if that is not known."""
        known = self._known.get(subject)
        return None if known is None else known.position

    def next_number(self, subject: str) -> int:
        """Return the number of the subject's next event."""
        return self._known[subject].number + 1

    def stored(self, subject: str, position: int | None) -> None:
        """Count one more stored event; `position` is None if its stream sequence is not known."""
        known = self._known.get(subject)
        if known is not None:
            stale = known.stale or position is None
            place = known.position if position is None else position
            self._note(subject, _Last(known.number + 1, place, stale))

    def mark_stale(self, subject: str) -> None:
        """Note that the last stored event must be read again."""
        if subject in self._known:
            self._known[subject] = replace(self._known[subject], stale=True)

    @property
    def overflows(self) -> bool:
        """Whether more subjects are remembered than the limit."""
        return len(self._known) > LONGEST_MEMORY

    def forget_all_but(self, needed: Collection[str]) -> None:
        """Forget the least recently used subjects, but none of those that are needed."""
        spare = [subject for subject in self._known if subject not in needed]
        for subject in spare[: len(self._known) - LONGEST_MEMORY]:
            del self._known[subject]

    def _note(self, subject: str, last: _Last) -> None:
        self._known.pop(subject, None)
        self._known[subject] = last


def _number(last: Stored) -> int:
    try:
        return int(jsontext.decode(last.payload)["sequence"])
    except (ValueError, KeyError, TypeError) as error:
        raise BridgeError(f"the last stored event has no sequence number: {last.payload[:200]!r}") from error
