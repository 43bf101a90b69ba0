"""Messages that are published together, and the server's answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nats.js import errors as js_errors
from nats.js.api import Header

from flow_client._core import jsontext
from flow_client._nats.errors import bridge_error, text_of
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from flow_client._nats.outbox.backlog import Message

_MSG_ID = Header.MSG_ID.value
_EXPECTED_LAST = Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value

_TRANSIENT_CODES = (10211, 10208, 10158)
"""Error codes: too many batches at once; an unknown batch; the same message is still being stored."""
_TRANSIENT_STATUS = (429, 503)
_NO_BATCHES = (10205, 10206, 10174)
"""Error codes of a stream that no longer takes batches: a new session finds out."""


class UnconfirmedError(Exception):
    """It is not known what is stored, so this session is over. It never leaves the outbox."""


@dataclass
class OutgoingMessage:
    """A message as it is published in one session, and what became of it.

    Attributes:
        message: the message in the backlog.
        payload: its bytes, numbered if it is an event.
        headers: its headers.
        sent: whether it was handed to the connection; from then on it may be stored.
        stored: whether the stream has it.
        position: its sequence in the stream, 0 if it is not known.
        duplicate: whether the stream already had a message with its id.
        refusal: why the stream does not take it. It says nothing about the other messages of the session.
    """

    message: Message
    payload: bytes
    headers: dict[str, str]
    sent: bool = False
    stored: bool = False
    position: int = 0
    duplicate: bool = False
    refusal: BridgeError | None = None

    @property
    def subject(self) -> str:
        """The subject that it is published to."""
        return self.message.subject


def headers(message_id: str, expected_last: int | None) -> dict[str, str]:
    """Return the headers that have a message stored once, and only if `expected_last` is the subject's last one."""
    found = {_MSG_ID: message_id}
    if expected_last is not None:
        found[_EXPECTED_LAST] = str(expected_last)
    return found


class Publication(ABC):
    """Messages that are sent together, and the answers to them.

    Attributes:
        messages: what is sent.
        answers: how many answers came.
        over: done when no more answers are to come.
    """

    def __init__(self, messages: list[OutgoingMessage]) -> None:
        self.messages = messages
        self.answers = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def send(self, client: Client, reply_prefix: str) -> None:
        """Send the messages; the server's answers come to subjects below `reply_prefix`."""

    @abstractmethod
    def on_reply(self, tokens: list[str], answer: dict[str, Any]) -> None:
        """Take an answer; `tokens` are those of its subject behind the prefix."""

    def on_error(self, error: Exception) -> None:
        """Take an error of the connection."""
        text = str(error)
        if "permissions violation for publish" in text:
            for message in self.messages:
                if f'"{message.subject.lower()}"' in text:
                    message.refusal = BridgeError(f"publishing to {message.subject}: {text}")
        self.abandon(text_of(error))

    def finish(self) -> None:
        """Note that everything is answered."""
        if not self.over.done():
            self.over.set_result(None)

    def abandon(self, reason: object) -> None:
        """Note that the answers do not say what is stored."""
        if not self.over.done():
            self.over.set_exception(UnconfirmedError(f"NATS: {reason}"))
            self.over.exception()  # perhaps nobody waits any more

    def refuse(self, message: OutgoingMessage, error: dict[str, Any]) -> None:
        """Note that the stream does not take the message, or abandon all of them if it may take it later."""
        if error.get("code") in _TRANSIENT_STATUS or error.get("err_code") in (*_TRANSIENT_CODES, *_NO_BATCHES):
            self.abandon(error.get("description"))
        else:
            known = {key: error.get(key) for key in ("code", "err_code", "description")}
            message.refusal = bridge_error(js_errors.APIError(**known), f"publishing to {message.subject}")


def read_answer(reply: Msg) -> dict[str, Any]:
    """Return the server's answer; a bare status is an error."""
    status = (reply.headers or {}).get(Header.STATUS.value)
    if status is not None:
        return {"error": {"code": int(status), "description": f"status {status}"}}
    answer: dict[str, Any] = jsontext.decode(reply.data)
    return answer
