"""Publishing messages without waiting for each one's acknowledgement, on servers and streams without batches.

The order of one connection is all that keeps them in order: the first of each subject is waited for, so that a stream
that is not there yet does not take the second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Exchange

if TYPE_CHECKING:
    from nats.aio.client import Client

    from flow_client._nats.outbox.publication import Parcel
    from flow_client._nats.outbox.session import Session

MAX_IN_FLIGHT = 256


async def publish_window(session: Session, parcels: list[Parcel]) -> None:
    """Publish the parcels, one or more.

    If the first of a subject is refused, or was stored before, none of those that follow is sent.

    Raises:
        DoubtError: any of them may be stored.
    """
    firsts = list({parcel.subject: parcel for parcel in reversed(parcels)}.values())
    await session.exchange(_Window(firsts))
    if len(firsts) == len(parcels) or any(first.refusal or first.duplicate for first in firsts):
        return
    sent = {id(parcel) for parcel in firsts}
    await session.exchange(_Window([parcel for parcel in parcels if id(parcel) not in sent]))


class _Window(Exchange):
    async def publish(self, client: Client, inbox: str) -> None:
        for number, parcel in enumerate(self.parcels):
            parcel.sent = True
            await client.publish(parcel.subject, parcel.payload, f"{inbox}.{number}", parcel.headers)

    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        self.answers += 1
        parcel = self.parcels[int(tokens[0])]
        if "error" in answer:
            self.refuse(parcel, answer["error"])
        else:
            parcel.stored, parcel.position = True, answer["seq"]
            parcel.duplicate = bool(answer.get("duplicate"))
        if all(parcel.stored or parcel.refusal for parcel in self.parcels):
            self.finish()
