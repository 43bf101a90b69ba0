"""Publishing messages without waiting for each acknowledgement, on servers and streams without batches.

Only the order of the connection keeps them in order. So the first message of each subject is waited for: if the stream
is created in the meantime, it must not begin with the second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Publication

if TYPE_CHECKING:
    from nats.aio.client import Client

    from flow_client._nats.outbox.publication import OutgoingMessage
    from flow_client._nats.outbox.session import Session

MAX_IN_FLIGHT = 256


async def publish_window(session: Session, messages: list[OutgoingMessage]) -> None:
    """Publish one or more messages. If a subject's first one is refused, or was stored before, no others are sent.

    Raises:
        UnconfirmedError: any of them may be stored.
    """
    firsts = list({message.subject: message for message in reversed(messages)}.values())
    await session.publish(_Window(firsts))
    if len(firsts) == len(messages) or any(first.refusal or first.duplicate for first in firsts):
        return
    sent = {id(message) for message in firsts}
    await session.publish(_Window([message for message in messages if id(message) not in sent]))


class _Window(Publication):
    async def send(self, client: Client, reply_prefix: str) -> None:
        for number, message in enumerate(self.messages):
            message.sent = True
            await client.publish(message.subject, message.payload, f"{reply_prefix}.{number}", message.headers)

    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        self.answers += 1
        message = self.messages[int(tokens[0])]
        if "error" in answer:
            self.refuse(message, answer["error"])
        else:
            message.stored, message.position = True, answer["seq"]
            message.duplicate = bool(answer.get("duplicate"))
        if all(message.stored or message.refusal for message in self.messages):
            self.finish()
