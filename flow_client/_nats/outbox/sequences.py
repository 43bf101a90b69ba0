"""Numbers an execution's events 1, 2, 3 and so on, whichever process writes them."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass
class _Last:
    """A subject's last known event.

    Attributes:
        number: its number.
        position: its sequence in the stream, or an earlier one if `exact` is false; None if none is known.
        next: the number of the next event to be sent.
        exact: whether the position is that of the last event.
        stale: whether there may be later events than this one.
    """

    number: int
    position: int | None
    next: int
    exact: bool = True
    stale: bool = False


class Sequences:
    """The last known stored event of each subject, least recently used first."""

    def __init__(self) -> None:
        self._known: dict[str, _Last] = {}

    def unknown(self, messages: Iterable[Message]) -> set[str]:
        """Return the subjects of those events whose last stored predecessor must be read first."""
        subjects = {message.subject for message in messages if isinstance(message.content, EventDraft)}
        return {subject for subject in subjects if not self._is_known(subject)}

    def _is_known(self, subject: str) -> bool:
        known = self._known.get(subject)
        return known is not None and known.exact and not known.stale

    def read(self, subject: str, last: Stored | None) -> None:
        """Note the subject's last stored event, None if it has none.

        Raises:
            BridgeError: the event has no sequence number, so this client did not write it.
        """
        known = self._known.pop(subject, None)
        number, position = (0, 0) if last is None else (_number(last), last.stream_sequence)
        if known is not None:
            number = max(number, known.number)
        self._known[subject] = _Last(number, position, number + 1)

    def position(self, subject: str) -> int | None:
        """Return the stream sequence of the last event: 0 if there is no event, None if that is not known."""
        known = self._known.get(subject)
        return None if known is None else known.position

    def take_number(self, subject: str) -> int:
        """Return the number of the subject's next event, which is about to be sent."""
        known = self._known[subject] = self._known.pop(subject)  # now it is the one that was used last
        number = known.next
        known.next = number + 1
        return number

    def stored(self, subject: str, number: int, position: int | None) -> None:
        """Note that the event with this number is stored; `position` is None if its stream sequence is not known."""
        known = self._known.get(subject)
        if known is not None:
            known.number = number
            known.exact = position is not None
            if position is not None:
                known.position = position

    def mark_stale(self, subject: str) -> None:
        """Note that the last stored event must be read again."""
        if subject in self._known:
            self._known[subject].stale = True

    @property
    def overflows(self) -> bool:
        """Whether more subjects are remembered than the limit."""
        return len(self._known) > LONGEST_MEMORY

    def forget_all_but(self, needed: Collection[str]) -> None:
        """Forget the least recently used subjects, but none of those that are needed."""
        spare = [subject for subject in self._known if subject not in needed]
        for subject in spare[: len(self._known) - LONGEST_MEMORY]:
            del self._known[subject]


def _number(last: Stored) -> int:
    try:
        return int(jsontext.decode(last.payload)["sequence"])
    except (ValueError, KeyError, TypeError) as error:
        raise BridgeError(f"the last stored event has no sequence number: {last.payload[:200]!r}") from error
