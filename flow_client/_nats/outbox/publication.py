"""Messages that are published together, and the server's answers."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nats.js import errors as js_errors
from nats.js.api import Header

from flow_client._core import jsontext
from flow_client._nats.connection import ATTEMPT_TIMEOUT
from flow_client._nats.errors import bridge_error, text_of
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats.aio.msg import Msg

    from flow_client._nats.outbox.backlog import Message

SLOWEST_RATE = 256 * 1024
"""Bytes per second below which a message counts as lost, not as slow."""
_MSG_ID = Header.MSG_ID.value.encode()
_EXPECTED_LAST = Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value.encode()

_TRANSIENT_CODES = (10211, 10208, 10158)
"""Error codes: too many batches at once; an unknown batch; the same message is still being stored."""
_TRANSIENT_STATUS = (429, 503)
_NO_BATCHES = (10205, 10206, 10174)
"""Error codes of a stream that no longer takes batches: a new session finds out."""


class UnconfirmedError(Exception):
    """It is not known what is stored, so this session is over. It never leaves the outbox."""


class Outgoing(NamedTuple):
    """A message as it is published in one session.

    Attributes:
        message: the message in the backlog.
        payload: its bytes, numbered if it is an event.
        headers: its headers as they are sent.
    """

    message: Message
    payload: bytes
    headers: bytes

    def command(self, reply: bytes) -> bytes:
        """Return the command that publishes it; the answer comes to the subject `reply`."""
        headers, payload = self.headers, self.payload
        size = len(headers)
        subject = self.message.subject.encode()
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, size, size + len(payload), headers, payload)


class Outcome(Protocol):
    """Who is told what became of the messages."""

    def stored(self, messages: list[tuple[Message, int | None]]) -> None:
        """Note that the messages are stored, each with its sequence in the stream, None if it is not known."""

    def repeated(self, message: Message) -> None:
        """Note that the stream already had a message with this one's id."""

    def refused(self, message: Message, error: BridgeError) -> None:
        """Note that the stream does not take the message. It says nothing about the other messages."""

    def failed(self) -> None:
        """Note that it is not known what is stored, which whoever waits for the messages is told too."""


def headers(message_id: str, expected_last: int | None) -> bytes:
    """Return the headers that have a message stored once, and only if `expected_last` is the subject's last one."""
    if expected_last is None:
        return b"NATS/1.0\r\n%b: %b\r\n\r\n" % (_MSG_ID, message_id.encode())
    return b"NATS/1.0\r\n%b: %b\r\n%b: %d\r\n\r\n" % (_MSG_ID, message_id.encode(), _EXPECTED_LAST, expected_last)


class Publication(ABC):
    """Messages that are on their way, and the answers to them.

    Args:
        outcome: is told what became of the messages.
        write: hands commands to the connection, or raises.

    Attributes:
        failure: why it is not known what is stored.
    """

    def __init__(self, outcome: Outcome, write: Callable[[bytes], None]) -> None:
        self._outcome = outcome
        self._write = write
        self._changed = asyncio.Event()
        self._last_answer = 0.0
        self.failure: UnconfirmedError | None = None

    @abstractmethod
    def unanswered(self) -> Iterable[Message]:
        """Return the messages that the server has not answered for."""

    @abstractmethod
    def on_answer(self, tokens: list[str], answer: dict[str, Any]) -> None:
        """Take an answer; `tokens` are those that its subject ends with."""

    @property
    @abstractmethod
    def unanswered_bytes(self) -> int:
        """The size of what the server has not answered for."""

    def _send(self, outgoing: list[Outgoing], commands: list[bytes]) -> None:
        """Send the messages in one go: from now on they may be stored."""
        for message, _, _ in outgoing:
            message.times_sent += 1
        if not self.unanswered_bytes:
            self._note_answer()
        self._write(b"".join(commands))

    def _note_answer(self) -> None:
        self._last_answer = time.monotonic()
        self._changed.set()

    def check_patience(self) -> None:
        """Abandon the messages if the server has not answered for too long."""
        patience = ATTEMPT_TIMEOUT + self.unanswered_bytes / SLOWEST_RATE
        if self.unanswered_bytes and time.monotonic() - self._last_answer > patience:
            self.abandon(f"it did not confirm within {patience:.1f} s")

    def on_error(self, error: Exception) -> None:
        """Take an error of the connection."""
        text = str(error)
        if "permissions violation for publish" in text:
            for message in list(self.unanswered()):
                if f'"{message.subject.lower()}"' in text:
                    self._outcome.refused(message, BridgeError(f"publishing to {message.subject}: {text}"))
        self.abandon(text_of(error))

    def abandon(self, reason: object) -> None:
        """Note that the answers do not say what is stored."""
        if self.failure is None:
            self.failure = UnconfirmedError(f"NATS: {reason}")
            self._changed.set()
            self._outcome.failed()

    def refuse(self, message: Message, error: dict[str, Any]) -> None:
        """Note that the stream does not take the message, or abandon all of them if it may take it later."""
        if error.get("code") in _TRANSIENT_STATUS or error.get("err_code") in (*_TRANSIENT_CODES, *_NO_BATCHES):
            self.abandon(error.get("description"))
        else:
            known = {key: error.get(key) for key in ("code", "err_code", "description")}
            refusal = bridge_error(js_errors.APIError(**known), f"publishing to {message.subject}")
            self._outcome.refused(message, refusal)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition `holds`, which answers may change.

        Raises:
            UnconfirmedError: it is not known what is stored.
        """
        while self.failure is None and not holds():
            self._changed.clear()
            await self._changed.wait()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise `UnconfirmedError` if it is not known what is stored."""
        if self.failure is not None:
            raise self.failure


def read_answer(reply: Msg) -> dict[str, Any]:
    """Return the server's answer; a bare status is an error."""
    status = (reply.headers or {}).get(Header.STATUS.value)
    if status is not None:
        return {"error": {"code": int(status), "description": f"status {status}"}}
    answer: dict[str, Any] = jsontext.decode(reply.data)
    return answer
