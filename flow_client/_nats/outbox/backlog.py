"""The messages that are not acknowledged yet, in the order in which they were given.

Callers put messages into a queue, and the loop's thread moves them from there into its log. A caller holds no lock and
changes nothing else, so a signal handler may raise or push itself at any point of it: a message is in the queue or it
is not.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.latch import Latch
from flow_client._nats.payloads import EventDraft
from flow_client.errors import ClientClosedError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flow_client.errors import BridgeError

# What a sequence number may add to an event's bytes.
_NUMBER_BYTES = 20


class Message:
    """A message on its way.

    Attributes:
        subject: where it goes.
        stream: the subject without the execution: what one stream takes.
        content: its bytes, or an event that waits for its number.
        size: its bytes, roughly.
        waited_for: whether a caller waits for it; who waits is told of a failure, the others are counted.
        number: its place among all messages, given by the loop.
        message_id: a name of its own, by which JetStream recognises a repetition.
        times_sent: how often it was handed to a connection; from the first time on it may be stored.
        withdrawn: whether its caller has given up.
        settled: whether it is stored or given up.
        error: why it was given up.
    """

    __slots__ = (
        "_claim",
        "_claimed",
        "_latch",
        "content",
        "error",
        "message_id",
        "number",
        "settled",
        "size",
        "stream",
        "subject",
        "times_sent",
        "waited_for",
        "withdrawn",
    )

    def __init__(self, subject: str, content: bytes | EventDraft, *, waited_for: bool = False) -> None:
        self.subject = subject
        self.stream = subject[: subject.rindex(".")]
        self.content = content
        if isinstance(content, EventDraft):
            self.size = len(content.before) + len(content.after) + _NUMBER_BYTES
        else:
            self.size = len(content)
        self.waited_for = waited_for
        self.message_id = ""
        self.number = self.times_sent = 0
        self.settled = self.withdrawn = self._claimed = False
        self.error: BridgeError | ClientClosedError | None = None
        if waited_for:
            self._latch = Latch()
            # Whoever takes it decides: the loop to send the message, or the caller never to have it sent.
            self._claim = threading.Lock()

    def settle(self, error: BridgeError | ClientClosedError | None = None) -> None:
        """Note that it is stored, or why it is given up, and wake the caller that waits for it."""
        if not self.settled:
            self.error = error
            self.settled = True  # last: a caller whose time is over looks at both without a lock
            if self.waited_for:
                self._latch.open()

    def wait(self, timeout: float) -> None:
        """Wait until it is settled or the time is over, if it is `waited_for`."""
        self._latch.wait(timeout)

    def withdraw(self) -> bool:
        """Have it sent no more and return whether it never was; called by the one who waits for it."""
        never_sent = self._claim.acquire(blocking=False)
        self.withdrawn = True
        return never_sent

    def claim(self) -> bool:
        """Take it for sending and return whether its caller has left it; called by the loop."""
        if self.waited_for and not self._claimed:
            self._claimed = self._claim.acquire(blocking=False)
            self.withdrawn = self.withdrawn or not self._claimed
        return not self.withdrawn

    def give_back(self) -> None:
        """Let the caller withdraw it again: it was claimed and did not reach a connection; called by the loop."""
        if self._claimed and not self.times_sent:
            self._claimed = False
            self._claim.release()


class MessageLog:
    """An ordered log with bounds. Callers append and wait; all else is done by the loop's thread.

    Args:
        max_messages: how many messages it holds at most. Callers that push at the very same time may exceed it by one
            each.
        max_bytes: how many bytes it holds at most; a larger message has it to itself.
        wake: called when the loop must look at the log again, once for each burst.
        start: called before the first message is taken; if it raises, none is.
    """

    def __init__(
        self, max_messages: int, max_bytes: int, wake: Callable[[], None], start: Callable[[], None] | None = None
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._wake = wake
        self._start = start
        self._name = secrets.token_hex(8)
        # What callers put in, and what they wait for; the loop takes it out.
        self._incoming: deque[Message | Latch] = deque()
        self._incoming_bytes = 0
        self._blocked: deque[Latch] = deque()
        # Each time the loop finds nothing it begins a nap; it was woken from the one that callers note here.
        self._naps = 0
        self._woken: int | None = None
        self._refusal: BridgeError | ClientClosedError | None = None
        self._told = 0
        # The loop's own.
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._taken = 0
        self._barriers: deque[tuple[int, Latch]] = deque()
        self._failed = 0
        self._cause: BridgeError | ClientClosedError | None = None

    # What callers do.

    def append(self, message: Message, timeout: float | None = None) -> bool:
        """Append a message; wait while there is no room for it. Return whether there was in time.

        Raises:
            ClientClosedError: the log was closed, before or meanwhile.
            BridgeError: the loop cannot be started, or has ended.
        """
        if not self._has_room(message.size) and not self._wait_for_room(message.size, timeout):
            return False
        if self._refusal is not None:
            raise copy(self._refusal)  # several threads may raise it, each with its own frames
        self._incoming_bytes += message.size
        self._put(message)
        return True

    def barrier(self) -> Latch:
        """Return a latch that opens when all that was appended before is settled."""
        latch = Latch()
        # In this order: the loop moves messages from the one to the other, and they are never in neither.
        if self._incoming or self._messages:
            self._put(latch)
        else:
            latch.open()
        return latch

    def _put(self, item: Message | Latch) -> None:
        if self._woken is None and self._start is not None:
            self._start()
        try:
            self._incoming.append(item)
        finally:  # an interrupt may fall in between
            self._wake_loop()

    def _wake_loop(self) -> None:
        nap = self._naps
        if self._woken != nap:
            self._wake()
            # Only now: an interrupt within leaves it to the next one. If the loop takes its next nap meanwhile, that
            # has another number, and the next message wakes it once more.
            self._woken = nap

    def _has_room(self, size: int) -> bool:
        incoming, held = len(self._incoming), len(self._messages)
        if not incoming and not held:
            return True
        if incoming + held >= self._max_messages:
            return False
        return self._incoming_bytes + self._bytes + size <= self._max_bytes

    def _wait_for_room(self, size: int, timeout: float | None) -> bool:
        deadline = None if timeout is None else Deadline(timeout)
        self._wake_loop()
        while not self._has_room(size):
            latch = Latch()
            self._blocked.append(latch)
            if self._refusal is not None:
                raise copy(self._refusal)
            if self._has_room(size):  # since before the loop could see who waits
                return True
            if not latch.wait(None if deadline is None else deadline.remaining()):
                return self._has_room(size)
        return True

    def raise_failures(self, *, is_stored: bool = False) -> None:
        """Raise an error that counts what was given up since the last call, if anything was.

        Args:
            is_stored: whether the caller's own message is stored, which the error then says.
        """
        if self._failed != self._told:
            error = self.take_failures(is_stored=is_stored)
            if error is not None:
                raise error from error.__cause__

    def take_failures(self, *, is_stored: bool = False) -> UndeliveredError | None:
        """Return an error that counts what was given up since the last call, None if nothing was."""
        failed, told, cause = self._failed, self._told, self._cause
        if failed == told:
            return None
        error = _undelivered(failed - told, cause, is_stored=is_stored)
        error.__cause__ = cause
        self._told = failed
        return error

    def refuse_more(self, error: BridgeError | ClientClosedError) -> None:
        """Take no more messages; who waits for room is told so."""
        self._refusal = self._refusal or error
        self._unblock()

    def __len__(self) -> int:
        """Return how many messages are not settled."""
        return sum(isinstance(item, Message) for item in self._incoming.copy()) + len(self._messages)

    # What the loop does.

    def has_incoming(self) -> bool:
        """Return whether there is something that was not looked at."""
        return bool(self._incoming)

    def has_more(self) -> bool:
        """Return whether there is a message to be sent; if not, the next one wakes the loop."""
        self._take_in()
        if not self._messages:
            self._naps += 1
            self._take_in()  # what came before anybody could see the nap
        return bool(self._messages)

    def _take_in(self) -> None:
        while self._incoming:
            item = self._incoming[0]
            if isinstance(item, Message):
                self._admit(item)
            else:
                self._barriers.append((self._taken, item))
            self._incoming.popleft()
        self._incoming_bytes = 0
        self._shorten()

    def _admit(self, message: Message) -> None:
        self._taken += 1
        message.number = self._taken
        message.message_id = f"{self._name}-{self._taken}"
        self._bytes += message.size
        self._messages.append(message)

    def _shorten(self) -> None:
        before = len(self._messages)
        while self._messages and (self._messages[0].settled or self._messages[0].withdrawn):
            self._bytes -= self._messages.popleft().size
        first = self._messages[0].number if self._messages else self._taken + 1
        while self._barriers and self._barriers[0][0] < first:
            self._barriers.popleft()[1].open()
        if len(self._messages) < before:  # who is woken for nothing takes the interpreter from the loop
            self._unblock()

    def _unblock(self) -> None:
        with suppress(IndexError):  # a caller may close the log at the same time
            while True:
                self._blocked.popleft().open()

    def next_run(self, max_messages: int, max_bytes: int) -> list[Message]:
        """Return the messages at the head that go to one stream, one at least if there is any."""
        self._take_in()
        run: list[Message] = []
        for message in self._messages:
            if message.settled or message.withdrawn:
                continue
            max_bytes -= message.size
            if run and (max_bytes < 0 or len(run) == max_messages or message.stream != run[0].stream):
                break
            run.append(message)
        return run

    def in_doubt(self) -> list[Message]:
        """Return the messages that may be stored."""
        return [message for message in self._messages if message.times_sent and not message.settled]

    def settle(self, messages: Iterable[Message]) -> None:
        """Note that the messages are stored."""
        for message in messages:
            message.settle()
        self._shorten()

    def fail(self, messages: Iterable[Message], error: BridgeError | ClientClosedError) -> None:
        """Give the messages up, those that are not settled."""
        for message in messages:
            if not message.settled:
                message.settle(error)
                if not message.waited_for:
                    self._count_failure(error)
        self._shorten()

    def _count_failure(self, error: BridgeError | ClientClosedError) -> None:
        if self._failed == self._told:
            self._cause = error
        self._failed += 1

    def fail_all(self, error: BridgeError | ClientClosedError) -> None:
        """Give everything up."""
        self._take_in()
        self.fail(list(self._messages), error)

    def fail_unsent(self, error: BridgeError | ClientClosedError) -> None:
        """Give up what was never sent."""
        self._take_in()
        self.fail([message for message in self._messages if not message.times_sent], error)

    def fail_waiting(self, error: BridgeError) -> None:
        """Give up what callers wait for and what was never sent."""
        self._take_in()
        self.fail([message for message in self._messages if message.waited_for and not message.times_sent], error)

    def end(self, error: BridgeError | ClientClosedError) -> None:
        """Give everything up, and refuse what comes: the loop looks at it no more."""
        self.refuse_more(error)
        self._naps += 1  # whoever puts something in from now on finds that the loop cannot be woken
        self.fail_all(error)


def _undelivered(count: int, cause: BaseException | None, *, is_stored: bool) -> UndeliveredError:
    """Return an error that says how many messages were given up, and why the first of them was."""
    earlier = "earlier " if is_stored else ""
    what = f"1 {earlier}message was" if count == 1 else f"{count} {earlier}messages were"
    remark = " (this one was)" if is_stored else ""
    return UndeliveredError(f"{what} not stored{remark}; the first cause: {cause}", undelivered=count)
