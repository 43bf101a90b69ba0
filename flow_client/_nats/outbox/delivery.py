"""Delivering the messages of a log, each stored once and in order: one run of them at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flow_client._nats.connection import WrongSequenceError
from flow_client._nats.outbox.batch import MAX_BYTES, MAX_MESSAGES, publish_batch
from flow_client._nats.outbox.publication import Parcel, headers
from flow_client._nats.outbox.sequences import Sequences
from flow_client._nats.outbox.session import too_large
from flow_client._nats.outbox.window import MAX_IN_FLIGHT, publish_window
from flow_client._nats.payloads import EventDraft
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from flow_client._nats.outbox.backlog import Message, MessageLog
    from flow_client._nats.outbox.session import Session, Stream
    from flow_client._nats.store import Stored


class Delivery:
    """Moves messages from a log into the streams.

    Before a run is sent, the one before it is stored, whole. So after a doubt the messages of one run are in question,
    and `reconcile` asks the streams about them.

    Attributes:
        stored: how many messages were stored.
        resent: how many were sent again.
    """

    def __init__(self, log: MessageLog) -> None:
        self._log = log
        self._sequences = Sequences()
        self.stored = 0
        self.resent = 0

    async def reconcile(self, session: Session) -> None:
        """Settle what was sent and is stored all the same: in an earlier session, or by what came late from there.

        Raises:
            DoubtError: NATS did not say.
        """
        groups: dict[str, list[Message]] = {}
        for message in self._log.in_doubt():
            groups.setdefault(message.subject, []).append(message)
        for subject, messages in groups.items():
            try:
                stream = await session.stream(messages[0].stream, subject)
            except BridgeError as exc:
                self._log.fail(messages, exc)
            else:
                self._settle(await self._found(session, stream, subject, messages))
            self._sequences.doubt(subject)

    async def _found(self, session: Session, stream: Stream, subject: str, messages: list[Message]) -> list[Message]:
        """Return which of the messages are stored."""
        last = await session.last_stored(stream, subject)
        known = self._sequences.position(subject)
        ids = [message.message_id for message in messages]
        if last is None or last.stream_sequence == known:
            return []
        if last.message_id in ids and stream.takes_batches:  # a batch has no holes
            return messages[: ids.index(last.message_id) + 1]
        found = {last.message_id}
        if known is not None:  # somebody else has written, or there may be holes
            found.update(await session.ids_after(stream, subject, known))
        return [message for message in messages if message.message_id in found]

    async def send_next(self, session: Session) -> None:
        """Deliver the messages at the head of the log, or give up those that cannot be delivered.

        Raises:
            DoubtError: it is not known what is stored.
        """
        run = self._log.next_run(MAX_MESSAGES, MAX_BYTES)
        if not run:
            return
        try:
            stream = await session.stream(run[0].stream, run[0].subject)
        except BridgeError as exc:
            self._log.fail(run, exc)
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
                self._log.fail([message], too_large(message.size, stream.max_message))
        return [message for message in run if not message.settled]

    async def _numbered(self, session: Session, stream: Stream, run: list[Message]) -> list[Message]:
        """Read the last stored events that are not known and return the run without those that cannot follow theirs."""
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
            self._sequences.forget_all_but({message.subject for message in (*run, *self._log.in_doubt())})

    def _read(self, subject: str, last: Stored | None, run: list[Message]) -> None:
        try:
            self._sequences.read(subject, last)
        except BridgeError as exc:
            self._log.fail([message for message in run if message.subject == subject], exc)

    async def _send(self, session: Session, stream: Stream, run: list[Message]) -> None:
        parcels = self._parcels(run)
        pairs = list(zip(run, parcels, strict=True))
        publish = publish_batch if stream.takes_batches and len(parcels) > 1 else publish_window
        try:
            await publish(session, parcels)
        finally:
            for message, parcel in pairs:
                self._note_attempt(message, parcel)
        self._note(pairs)
        if any(isinstance(parcel.refusal, WrongSequenceError) for parcel in parcels):
            # Whoever wrote there may have been an earlier session, whose messages came late.
            await self.reconcile(session)

    def _note_attempt(self, message: Message, parcel: Parcel) -> None:
        if parcel.sent:
            message.times_sent += 1
            self.resent += message.times_sent > 1
        else:
            message.give_back()
        if parcel.duplicate and message.times_sent == 1:
            parcel.refusal = BridgeError(f"{message.subject}: another message has the id {message.message_id}")
        # If somebody else has written, the message gets another number.
        if parcel.refusal and not isinstance(parcel.refusal, WrongSequenceError):
            self._log.fail([message], parcel.refusal)

    def _note(self, pairs: list[tuple[Message, Parcel]]) -> None:
        for message, parcel in pairs:
            if parcel.stored and not parcel.duplicate:
                self._sequences.stored(message.subject, parcel.position or None)
            else:
                self._sequences.doubt(message.subject)
        self._settle([message for message, parcel in pairs if parcel.stored and not message.settled])

    def _parcels(self, run: list[Message]) -> list[Parcel]:
        """Return what is published: each event numbered, the first of an execution only if nobody wrote since."""
        counts: dict[str, int] = {}
        parcels = []
        for message in run:
            subject, content, expected = message.subject, message.content, None
            if isinstance(content, EventDraft):
                before = counts.get(subject, 0)
                if not before:
                    expected = self._sequences.position(subject)
                content = content.numbered(self._sequences.next_number(subject) + before)
                counts[subject] = before + 1
            parcels.append(Parcel(subject, content, headers(message.message_id, expected)))
        return parcels

    def _settle(self, messages: list[Message]) -> None:
        self._log.settle(messages)
        self.stored += len(messages)
