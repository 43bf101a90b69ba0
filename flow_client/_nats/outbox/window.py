"""Publishing messages without waiting for each acknowledgement, on servers and streams without batches.

Only the order of the connection keeps them in order. So a subject's first message is waited for before others follow:
if the stream is created in the meantime, it must not begin with the second one. And when a message is passed over,
nothing more is sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Outcome, Outgoing, Publication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flow_client._nats.driver import Acks
    from flow_client._nats.outbox.backlog import Message

MAX_MESSAGES = 1000
MAX_BYTES = 512 * 1024
"""Limits on what is not answered yet; a larger message is sent alone."""


class Window(Publication):
    """The messages of a session that are not answered yet, in the order in which they were sent.

    Attributes:
        disturbed: whether a message was refused, or stored before: what was assumed of its subject may not hold.
    """

    def __init__(self, outcome: Outcome, write: Callable[[bytes], None], reply_prefix: str) -> None:
        super().__init__(outcome, write)
        self._reply_prefix = reply_prefix.encode()
        self._sent = 0
        self._bytes = 0
        self._messages: deque[tuple[int, Message]] = deque()
        self._counts: dict[str, int] = {}
        self._probed: set[str] = set()
        self.disturbed = False

    def unanswered(self) -> Iterable[Message]:
        """Return the messages that the server has not answered for."""
        return (message for _, message in self._messages)

    @property
    def unanswered_bytes(self) -> int:
        """The size of what the server has not answered for."""
        return self._bytes

    @property
    def room(self) -> tuple[int, int]:
        """How many more messages and bytes may be sent."""
        return MAX_MESSAGES - len(self._messages), MAX_BYTES - self._bytes

    def is_roomy(self) -> bool:
        """Return whether a fair number of messages may be sent; sending one or two each time costs more."""
        return 4 * len(self._messages) <= 3 * MAX_MESSAGES and 4 * self._bytes <= 3 * MAX_BYTES

    def is_empty(self) -> bool:
        """Return whether everything is answered."""
        return not self._messages

    def needs_attention(self) -> bool:
        """Return whether the answers so far must be seen to, whether there is more to send or not."""
        return self.disturbed or self.failure is not None

    def carries(self, subject: str) -> bool:
        """Return whether messages of the subject are not answered yet."""
        return subject in self._counts

    def publish(self, outgoing: list[Outgoing]) -> None:
        """Send messages whose predecessors are stored or on their way."""
        prefix = self._reply_prefix
        commands = [sent.command(b"%b.%d" % (prefix, number)) for number, sent in enumerate(outgoing, self._sent + 1)]
        self._send(outgoing, commands)
        for message, _, _ in outgoing:
            self._sent += 1
            self._messages.append((self._sent, message))
            self._bytes += message.size
            self._counts[message.subject] = self._counts.get(message.subject, 0) + 1

    def publish_firsts(self, outgoing: list[Outgoing]) -> None:
        """Send messages that are each the first one of a subject."""
        self._probed.update(message.subject for message, _, _ in outgoing)
        self.publish(outgoing)

    async def firsts_answered(self) -> None:
        """Wait until the answers to all first messages are there, or a message was refused.

        Raises:
            UnconfirmedError: it is not known what is stored.
        """
        await self.until(lambda: self.disturbed or not self._probed)

    def on_acks(self, acks: Acks) -> None:
        """Take acknowledgements: the numbers of messages that are stored, and their sequences in the stream."""
        stored: list[tuple[Message, int | None]] = []
        for number, position in acks:
            passed_over = self._messages and self._messages[0][0] < number
            message = self._take(number)
            if message is not None:
                stored.append((message, position))
            if passed_over:
                self.abandon("a message was passed over")
        self._note_answer()
        self._outcome.stored(stored)

    def on_answer(self, tokens: list[str], answer: dict[str, Any]) -> None:
        """Take an answer that was not read as an acknowledgement."""
        number = int(tokens[0])
        if "error" not in answer and not answer.get("duplicate"):
            self.on_acks([(number, answer["seq"])])
        elif message := self._take(number):
            self._note_answer()
            self.disturbed = True
            if "error" in answer:
                self.refuse(message, answer["error"])
            else:
                self._outcome.repeated(message)

    def _take(self, number: int) -> Message | None:
        """Return the message with this number, which is answered now; None if it was answered before."""
        messages = self._messages
        if not messages or messages[0][0] != number:
            messages = deque(item for item in messages if item[0] == number)
            if not messages:
                return None
            self._messages.remove(messages[0])
        message = messages.popleft()[1]
        self._bytes -= message.size
        self._probed.discard(message.subject)
        left = self._counts[message.subject] - 1
        if left:
            self._counts[message.subject] = left
        else:
            del self._counts[message.subject]
        return message
