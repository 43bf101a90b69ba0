"""Messages that are published together, and what the server answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nats.js import errors as js_errors
from nats.js.api import Header

from flow_client._core import jsontext
from flow_client._nats.connection import bridge_error
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

_MSG_ID = Header.MSG_ID.value
_EXPECTED_LAST = Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value

# Too many batches at once; a batch that is unknown; the same message, still being stored.
_PASSING_CODES = (10211, 10208, 10158)
_PASSING_STATUS = (429, 503)
# The stream does not take batches any more: a new session finds out.
_NO_BATCHES = (10205, 10206, 10174)


class DoubtError(Exception):
    """It is not known what is stored: this session is over. It never leaves the outbox."""


@dataclass
class Parcel:
    """A message as it is published, and what has become of it.

    Attributes:
        subject: where it goes.
        payload: its bytes.
        headers: its headers.
        sent: whether it was handed to the connection; from then on it may be stored.
        stored: whether the stream has it.
        position: its sequence in the stream, 0 if it is not known.
        duplicate: whether the stream had a message of its id before.
        refusal: why the stream does not take it; no other one of this session follows from it.
    """

    subject: str
    payload: bytes
    headers: dict[str, str]
    sent: bool = False
    stored: bool = False
    position: int = 0
    duplicate: bool = False
    refusal: BridgeError | None = None


def headers(message_id: str, expected_last: int | None) -> dict[str, str]:
    """Return the headers of a message that is stored once, and only if `expected_last` is the subject's last."""
    found = {_MSG_ID: message_id}
    if expected_last is not None:
        found[_EXPECTED_LAST] = str(expected_last)
    return found


class Exchange(ABC):
    """Parcels that are sent together, and the answers to them.

    Attributes:
        parcels: what is sent.
        answers: how many answers came.
        over: done when nothing more is to come.
    """

    def __init__(self, parcels: list[Parcel]) -> None:
        self.parcels = parcels
        self.answers = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def publish(self, client: Client, inbox: str) -> None:
        """Send the parcels; what the server says to them comes to subjects below `inbox`."""

    @abstractmethod
    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        """Take an answer; `tokens` are what was added to the inbox."""

    def on_error(self, error: Exception) -> None:
        """Take an error of the connection."""
        text = str(error)
        if "permissions violation for publish" in text:
            for parcel in self.parcels:
                if f'"{parcel.subject.lower()}"' in text:
                    parcel.refusal = BridgeError(f"publishing to {parcel.subject}: {text}")
        self.doubt(text or type(error).__name__)

    def finish(self) -> None:
        """Note that all is answered."""
        if not self.over.done():
            self.over.set_result(None)

    def doubt(self, reason: object) -> None:
        """Note that the answers do not say what is stored."""
        if not self.over.done():
            self.over.set_exception(DoubtError(f"NATS: {reason}"))
            self.over.exception()  # nobody may be waiting any more

    def refuse(self, parcel: Parcel, error: dict[str, Any]) -> None:
        """Note that the stream does not take the parcel, or raise a doubt if it may take it later."""
        if error.get("code") in _PASSING_STATUS or error.get("err_code") in (*_PASSING_CODES, *_NO_BATCHES):
            self.doubt(error.get("description"))
        else:
            known = {key: error.get(key) for key in ("code", "err_code", "description")}
            parcel.refusal = bridge_error(js_errors.APIError(**known), f"publishing to {parcel.subject}")


def read_answer(message: Msg) -> dict[str, Any]:
    """Return what the server says; a bare status is an error."""
    status = (message.headers or {}).get(Header.STATUS.value)
    if status is not None:
        return {"error": {"code": int(status), "description": f"status {status}"}}
    answer: dict[str, Any] = jsontext.decode(message.data)
    return answer
