"""Delivering the messages of a backlog, each stored once and in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flow_client._nats.errors import WrongSequenceError
from flow_client._nats.outbox.publication import Outgoing, headers
from flow_client._nats.outbox.sequences import Sequences
from flow_client._nats.outbox.session import too_large
from flow_client._nats.payloads import EventDraft
from flow_client.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from flow_client._nats.outbox.backlog import Backlog, Message
    from flow_client._nats.outbox.session import Session, Stream
    from flow_client._nats.store import Stored


class Delivery:
    """Moves messages from a backlog into the streams.

    Messages of one stream follow each other without waiting, through the session's window; a stream's messages are
    sent when those of the stream before it are stored. When a session is lost, `begin` asks the streams which of the
    messages on their way are stored.

    Args:
        backlog: the messages.
        on_progress: called when the server has said what becomes of messages.
        on_doubt: called when `send_next` must be called although there may be nothing to send.

    Attributes:
        stored_count: how many messages were stored.
        resent: how many were sent again.
    """

    def __init__(self, backlog: Backlog, on_progress: Callable[[], None], on_doubt: Callable[[], None]) -> None:
        self._backlog = backlog
        self._on_progress = on_progress
        self._on_doubt = on_doubt
        self._sequences = Sequences()
        self._stream: Stream | None = None
        self.stored_count = 0
        self.resent = 0

    # What the session tells.

    def stored(self, messages: list[tuple[Message, int | None]]) -> None:
        """Note that the messages are stored, each with its sequence in the stream, None if it is not known."""
        lasts = {message.subject: (message.sequence, position) for message, position in messages}
        for subject, (number, position) in lasts.items():
            self._sequences.stored(subject, number, position)
        self._settle([message for message, _ in messages])

    def repeated(self, message: Message) -> None:
        """Note that the stream already had a message with this one's id."""
        if message.times_sent == 1:
            self.refused(message, BridgeError(f"{message.subject}: another message has the id {message.message_id}"))
            return
        self._sequences.mark_stale(message.subject)
        self._settle([message])
        self._on_doubt()

    def refused(self, message: Message, error: BridgeError) -> None:
        """Give the message up, unless somebody else has written: then it is sent again with another number."""
        self._sequences.mark_stale(message.subject)
        if not isinstance(error, WrongSequenceError):
            self._give_up([message], error)
        self._on_doubt()

    def failed(self) -> None:
        """Note that it is not known what is stored."""
        self._on_doubt()

    def _settle(self, messages: list[Message]) -> None:
        self.stored_count += len(messages)  # first: whoever waits for them may ask for the figure at once
        self._backlog.settle(messages)
        if messages:
            self._on_progress()

    def _give_up(self, messages: list[Message], error: BridgeError) -> None:
        self._backlog.fail(messages, error)
        self._on_progress()

    # What happens in a session.

    async def begin(self, session: Session) -> None:
        """Take up what an earlier session left: mark as stored whatever it managed to store, however late it arrived.

        Raises:
            UnconfirmedError: NATS did not say.
        """
        self._stream = None
        await self._reconcile(session)

    async def _reconcile(self, session: Session) -> None:
        groups: dict[str, list[Message]] = {}
        for message in self._backlog.unconfirmed():
            groups.setdefault(message.subject, []).append(message)
        found = await asyncio.gather(*(self._look_up(session, *group) for group in groups.items()))
        for subject in groups:
            self._sequences.mark_stale(subject)
        self._settle([message for messages in found for message in messages])
        self._backlog.rewind()

    async def _look_up(self, session: Session, subject: str, messages: list[Message]) -> list[Message]:
        try:
            stream = await session.stream(messages[0].stream, subject)
        except BridgeError as error:
            self._give_up(messages, error)
            return []
        return await self._found(session, stream, subject, messages)

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
        """Send the next messages of the backlog; give up those that can never be delivered.

        Raises:
            UnconfirmedError: it is not known what is stored.
        """
        session.check()
        window = session.window
        await window.until(lambda: window.disturbed or window.is_roomy())
        if window.disturbed:
            await self._start_over(session)
        run = self._backlog.next_run(*window.room)
        if not run:
            return
        try:
            stream = await session.stream(run[0].stream, run[0].subject)
        except BridgeError as error:
            self._give_up(run, error)
            return
        if stream.takes_batches or stream != self._stream:
            await window.until(window.is_empty)
            self._stream = stream
        if not window.disturbed:
            await self._send(session, stream, self._without_too_large(stream, run))

    def _without_too_large(self, stream: Stream, run: list[Message]) -> list[Message]:
        for message in run:
            if message.size > stream.max_message:
                self._give_up([message], too_large(message.size, stream.max_message))
        return [message for message in run if not message.settled]

    async def _send(self, session: Session, stream: Stream, run: list[Message]) -> None:
        firsts = self._firsts(session, run)
        run = await self._numbered(session, stream, run, firsts)
        session.check()
        if stream.takes_batches and len(run) > 1:
            await self._send_batch(session, run, firsts)
        else:
            await self._send_through_window(session, run, firsts)

    def _firsts(self, session: Session, run: list[Message]) -> set[Message]:
        """Return the first message of each subject of which none is on its way."""
        found: dict[str, Message] = {}
        for message in run:
            if message.subject not in found and not session.window.carries(message.subject):
                found[message.subject] = message
        return set(found.values())

    async def _send_batch(self, session: Session, run: list[Message], firsts: set[Message]) -> None:
        outgoing = self._outgoing(run, firsts)
        if len(outgoing) == 1:  # the others were withdrawn
            session.publish(outgoing, firsts=True)
        elif outgoing:
            await session.publish_batch(outgoing)
            if any(not message.settled for message, _, _ in outgoing):
                await self._reconcile(session)

    async def _send_through_window(self, session: Session, run: list[Message], firsts: set[Message]) -> None:
        """Send the messages. If a subject's first one is refused, or was stored before, no others are sent."""
        if firsts:
            session.publish(self._outgoing([message for message in run if message in firsts], firsts), firsts=True)
        rest = [message for message in run if message not in firsts]
        if rest:
            await session.window.firsts_answered()
            if not session.window.disturbed:
                session.publish(self._outgoing(rest, ()), firsts=False)

    async def _start_over(self, session: Session) -> None:
        """Wait for the answers to come, and begin again with the first message that is not stored."""
        await session.window.until(session.window.is_empty)
        session.window.disturbed = False
        await self._reconcile(session)

    async def _numbered(
        self, session: Session, stream: Stream, run: list[Message], firsts: Collection[Message]
    ) -> list[Message]:
        """Read the last stored event of each subject where it is not known; leave out subjects where that fails."""
        subjects = list(self._sequences.unknown(firsts))
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
            self._give_up([message for message in run if message.subject == subject], error)

    def _outgoing(self, run: list[Message], firsts: Collection[Message]) -> list[Outgoing]:
        """Number the events; a subject's first one is stored only if nobody else has written there since.

        Messages that their callers have withdrawn, or that are given up, are left out.
        """
        outgoing = []
        for message in run:
            if message.settled or not message.claim():
                continue
            subject, content, expected = message.subject, message.content, None
            if isinstance(content, EventDraft):
                if message in firsts:
                    expected = self._sequences.position(subject)
                message.sequence = self._sequences.take_number(subject)
                content = content.numbered(message.sequence)
            outgoing.append(Outgoing(message, content, headers(message.message_id, expected)))
            self.resent += message.times_sent > 0
        return outgoing
