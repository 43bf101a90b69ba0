"""Publishing messages as a batch: the server itself refuses what follows a gap (fast ingest, server 2.14 and newer).

Each message of the batch has a reply subject `<prefix>.<batch>.<flow>.fail.<sequence>.<operation>.$FI`. The last one
commits, and its answer says how many are stored. The server stores them as they come, so a batch that is cut off is
stored up to some message and no further.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Outcome, Outgoing, Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flow_client._nats.outbox.backlog import Message

_FLOW = 100
"""How many messages the server may store before it says so."""

_START, _APPEND, _COMMIT = 0, 1, 2


class Batch(Publication):
    """Two or more messages that are published as one batch. If one is refused, those behind it are not stored."""

    def __init__(
        self, outcome: Outcome, write: Callable[[bytes], None], reply_prefix: str, outgoing: list[Outgoing]
    ) -> None:
        super().__init__(outcome, write)
        self._messages = [sent.message for sent in outgoing]
        self._size = sum(message.size for message in self._messages)
        self._refused = self._is_over = False
        prefix = f"{reply_prefix}.{secrets.token_hex(8)}.{_FLOW}.fail".encode()
        operations = [_START, *[_APPEND] * (len(outgoing) - 2), _COMMIT]
        commands = [
            sent.command(b"%b.%d.%d.$FI" % (prefix, number, operation))
            for number, (sent, operation) in enumerate(zip(outgoing, operations, strict=True), 1)
        ]
        self._note_answer()
        self._send(outgoing, commands)

    def unanswered(self) -> Iterable[Message]:
        """Return the messages that the server has not answered for."""
        return () if self._is_over else self._messages

    @property
    def unanswered_bytes(self) -> int:
        """The size of what the server has not answered for."""
        return 0 if self._is_over else self._size

    async def answered(self) -> None:
        """Wait until the server has said how many messages are stored.

        Raises:
            UnconfirmedError: it did not say.
        """
        await self.until(lambda: self._is_over)

    def on_answer(self, tokens: list[str], answer: dict[str, Any]) -> None:
        """Take an answer."""
        number = int(tokens[3])
        kind = answer.get("type")
        if kind == "err":  # the answer to the commit comes too: the batch ends with the message before
            self._refuse(answer["seq"], answer["error"])
        elif kind == "gap":
            self.abandon("the batch has a gap")
        elif "error" in answer and not self._refused:
            # An error of the first ends the batch; the others are told that there is none.
            self._refuse(number, answer["error"])
            self._is_over = True
        elif "count" in answer:
            self._stored(answer["count"], answer["seq"])
        self._note_answer()

    def _refuse(self, number: int, error: dict[str, Any]) -> None:
        self._refused = True
        self.refuse(self._messages[number - 1], error)

    def _stored(self, count: int, position: int) -> None:
        self._is_over = True
        positions = [*[None] * (count - 1), position] if count else []
        self._outcome.stored(list(zip(self._messages, positions, strict=False)))
