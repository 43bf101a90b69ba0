"""Publishing a batch: the server itself refuses what follows a hole (fast ingest, server 2.14 and newer).

Each message of the batch is published with a reply subject `<inbox>.<batch>.<flow>.fail.<sequence>.<operation>.$FI`.
The last one commits, and its answer says how many were stored. The server stores them as they come, so a batch that is
cut off is stored up to some message and no further.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from flow_client._nats.outbox.publication import Exchange

if TYPE_CHECKING:
    from nats.aio.client import Client

    from flow_client._nats.outbox.publication import Parcel
    from flow_client._nats.outbox.session import Session

MAX_MESSAGES = 1000
MAX_BYTES = 512 * 1024
# How many messages the server may store before it says so.
_FLOW = 100

_START, _APPEND, _COMMIT = 0, 1, 2


async def publish_batch(session: Session, parcels: list[Parcel]) -> None:
    """Publish the parcels, two or more, in one batch; what follows one that was refused is not stored.

    Raises:
        DoubtError: some may be stored, up to any of them.
    """
    await session.exchange(_Batch(parcels))


class _Batch(Exchange):
    async def publish(self, client: Client, inbox: str) -> None:
        prefix, last = f"{inbox}.{secrets.token_hex(8)}.{_FLOW}.fail.", len(self.parcels)
        for number, parcel in enumerate(self.parcels, 1):
            operation = _COMMIT if number == last else _START if number == 1 else _APPEND
            reply = f"{prefix}{number}.{operation}.$FI"
            parcel.sent = True
            await client.publish(parcel.subject, parcel.payload, reply, parcel.headers)

    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        self.answers += 1
        number = int(tokens[3])
        kind = answer.get("type")
        if kind == "err":  # the answer to the commit comes too: the batch ends with the message before
            self.refuse(self.parcels[answer["seq"] - 1], answer["error"])
        elif kind == "gap":
            self.doubt("the batch has a gap")
        elif "error" in answer and not any(parcel.refusal for parcel in self.parcels):
            # An error of the first ends the batch; the others are told that there is none.
            self.refuse(self.parcels[number - 1], answer["error"])
            self.finish()
        elif "count" in answer:
            self._stored(answer["count"], answer["seq"])

    def _stored(self, count: int, position: int) -> None:
        for parcel in self.parcels[:count]:
            parcel.stored = True
        if count:
            self.parcels[count - 1].position = position
        self.finish()
