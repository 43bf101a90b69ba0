"""Delivering the messages of a backlog, each stored once and in order: one run of them at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flow_client._nats.errors import WrongSequenceError
from flow_client._nats.outbox.batch import MAX_BYTES, MAX_MESSAGES, publish_batch
from flow_client._nats.outbox.publication import OutgoingMessage, headers
from flow_client._nats.outbox.sequences import Sequences
from flow_client._nats.outbox.session import too_large
from flow_client._nats.outbox.window import MAX_IN_FLIGHT, publish_window
from flow_client._nats.payloads import EventDraft
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from flow_client._nats.outbox.backlog import Backlog, Message
    from flow_client._nats.outbox.session import Session, Stream
    from flow_client._nats.store import Stored


class Delivery:
    """Moves messages from a backlog into the streams.

    A run is sent when the whole run before it is stored. So when a session is lost, it is unknown of one run only
    whether its messages are stored; `reconcile` asks the streams about them.

    Attributes:
        stored: how many messages were stored.
        resent: how many were sent again.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._sequences = Sequences()
        self.stored = 0
        self.resent = 0

    async def reconcile(self, session: Session) -> None:
        """Mark as stored whatever an earlier session managed to store, however late it arrived.

        Raises:
            UnconfirmedError: NATS did not say.
        """
        groups: dict[str, list[Message]] = {}
        for message in self._backlog.unconfirmed():
            groups.setdefault(message.subject, []).append(message)
        for subject, messages in groups.items():
            try:
                stream = await session.stream(messages[0].stream, subject)
            except BridgeError as error:
                self._backlog.fail(messages, error)
            else:
                self._settle(await self._found(session, stream, subject, messages))
            self._sequences.mark_stale(subject)

    async def _found(self, session: Session, stream: Stream, subject: str, messages: list[Message]) -> list[Message]:
        """Return which of the messages are stored."""
        last = await session.last_stored(stream, subject)
        known = self._sequences.position(subject)
        ids = [message.message_id for message in messages]
        if last is None or last.stream_sequence == known:
            return []
        if last.message_id in ids and stream.takes_batches:  # a batch has no gaps
            return messages[: ids.index(last.message_id) + 1]
        found = {last.message_id}
        if known is not None:  # somebody else has written, or there may be gaps
            found.update(await session.ids_after(stream, subject, known))
        return [message for message in messages if message.message_id in found]

    async def send_next(self, session: Session) -> None:
        """Deliver the messages at the head of the backlog; give up those that can never be delivered.

        Raises:
            UnconfirmedError: it is not known what is stored.
        """
        run = self._backlog.next_run(MAX_MESSAGES, MAX_BYTES)
        if not run:
            return
        try:
            stream = await session.stream(run[0].stream, run[0].subject)
        except BridgeError as error:
            self._backlog.fail(run, error)
            return
        if not stream.takes_batches:
            run = run[:MAX_IN_FLIGHT]
        run = await self._numbered(session, stream, self._without_too_large(stream, run))
        run = [message for message in run if message.claim()]
        if run:
            await self._send(session, stream, run)

    def _without_too_large(self, stream: Stream, run: list[Message]) -> list[Message]:
        for message in run:
            if message.size > stream.max_message:
                self._backlog.fail([message], too_large(message.size, stream.max_message))
        return [message for message in run if not message.settled]

    async def _numbered(self, session: Session, stream: Stream, run: list[Message]) -> list[Message]:
        """Read the last stored event of each subject where it is not known; leave out subjects where that fails."""
        subjects = list(self._sequences.unknown(run))
        if not subjects:
            return run
        self._make_room(run)
        lasts = await asyncio.gather(*(session.last_stored(stream, subject) for subject in subjects))
        for subject, last in zip(subjects, lasts, strict=True):
            self._read(subject, last, run)
        return [message for message in run if not message.settled]

    def _make_room(self, run: list[Message]) -> None:
        if self._sequences.overflows:
            self._sequences.forget_all_but({message.subject for message in (*run, *self._backlog.unconfirmed())})

    def _read(self, subject: str, last: Stored | None, run: list[Message]) -> None:
        try:
            self._sequences.read(subject, last)
        except BridgeError as error:
            self._backlog.fail([message for message in run if message.subject == subject], error)

    async def _send(self, session: Session, stream: Stream, run: list[Message]) -> None:
        outgoing = self._outgoing(run)
        publish = publish_batch if stream.takes_batches and len(outgoing) > 1 else publish_window
        try:
            await publish(session, outgoing)
        finally:
            for attempt in outgoing:
                self._note_attempt(attempt)
        self._note_stored(outgoing)
        if any(isinstance(attempt.refusal, WrongSequenceError) for attempt in outgoing):
            # The other writer may have been an earlier session of ours, whose messages arrived late.
            await self.reconcile(session)

    def _outgoing(self, run: list[Message]) -> list[OutgoingMessage]:
        """Number the events; a subject's first one is stored only if nobody else has written there since."""
        counts: dict[str, int] = {}
        outgoing = []
        for message in run:
            subject, content, expected = message.subject, message.content, None
            if isinstance(content, EventDraft):
                before = counts.get(subject, 0)
                if not before:
                    expected = self._sequences.position(subject)
                content = content.numbered(self._sequences.next_number(subject) + before)
                counts[subject] = before + 1
            outgoing.append(OutgoingMessage(message, content, headers(message.message_id, expected)))
        return outgoing

    def _note_attempt(self, attempt: OutgoingMessage) -> None:
        message = attempt.message
        if attempt.sent:
            message.times_sent += 1
            self.resent += message.times_sent > 1
        else:
            message.give_back()
        if attempt.duplicate and message.times_sent == 1:
            attempt.refusal = BridgeError(f"{message.subject}: another message has the id {message.message_id}")
        # If somebody else has written, the message is sent again with another number.
        if attempt.refusal and not isinstance(attempt.refusal, WrongSequenceError):
            self._backlog.fail([message], attempt.refusal)

    def _note_stored(self, outgoing: list[OutgoingMessage]) -> None:
        for attempt in outgoing:
            if attempt.stored and not attempt.duplicate:
                self._sequences.stored(attempt.subject, attempt.position or None)
            else:
                self._sequences.mark_stale(attempt.subject)
        self._settle([attempt.message for attempt in outgoing if attempt.stored and not attempt.message.settled])

    def _settle(self, messages: list[Message]) -> None:
        self.stored += len(messages)  # first: whoever waits for them may ask for the figure at once
        self._backlog.settle(messages)
