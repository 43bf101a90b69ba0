"""Publishing messages as a batch: the server itself refuses what follows a gap (fast ingest, server 2.14 and newer).

Each message of the batch has a reply subject `<prefix>.<batch>.<flow>.fail.<sequence>.<operation>.$FI`. The last one
commits, and its answer says how many are stored. The server stores them as they come, so a batch that is cut off is
stored up to some message and no further.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Publication

if TYPE_CHECKING:
    from nats.aio.client import Client

    from flow_client._nats.outbox.publication import OutgoingMessage
    from flow_client._nats.outbox.session import Session

MAX_MESSAGES = 1000
MAX_BYTES = 512 * 1024
_FLOW = 100
"""How many messages the server may store before it says so."""

_START, _APPEND, _COMMIT = 0, 1, 2


async def publish_batch(session: Session, messages: list[OutgoingMessage]) -> None:
    """Publish two or more messages as one batch. If one is refused, those behind it are not stored.

    Raises:
        UnconfirmedError: the server did not say how many of them are stored.
    """
    await session.publish(_Batch(messages))


class _Batch(Publication):
    async def send(self, client: Client, reply_prefix: str) -> None:
        prefix, last = f"{reply_prefix}.{secrets.token_hex(8)}.{_FLOW}.fail.", len(self.messages)
        for number, message in enumerate(self.messages, 1):
            operation = _COMMIT if number == last else _START if number == 1 else _APPEND
            reply = f"{prefix}{number}.{operation}.$FI"
            message.sent = True
            await client.publish(message.subject, message.payload, reply, message.headers)

    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        self.answers += 1
        number = int(tokens[3])
        kind = answer.get("type")
        if kind == "err":  # the answer to the commit comes too: the batch ends with the message before
            self.refuse(self.messages[answer["seq"] - 1], answer["error"])
        elif kind == "gap":
            self.abandon("the batch has a gap")
        elif "error" in answer and not any(message.refusal for message in self.messages):
            # An error of the first ends the batch; the others are told that there is none.
            self.refuse(self.messages[number - 1], answer["error"])
            self.finish()
        elif "count" in answer:
            self._stored(answer["count"], answer["seq"])

    def _stored(self, count: int, position: int) -> None:
        for message in self.messages[:count]:
            message.stored = True
        if count:
            self.messages[count - 1].position = position
        self.finish()
