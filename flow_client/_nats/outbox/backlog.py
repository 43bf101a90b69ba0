"""The messages that are not acknowledged yet, in the order in which they were pushed.

Callers append to a queue, and the loop's thread moves messages from the queue into its own list. A caller holds no lock
and changes nothing else, so a signal handler may raise, or push a message itself, at any point: a message is in the
queue or it is not.
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

_NUMBER_BYTES = 20
"""The most bytes that a sequence number adds to an event."""


class Message:
    """A message that was pushed.

    Attributes:
        subject: the subject that it is published to.
        stream: the subject without the execution; all subjects with this prefix belong to one stream.
        content: its bytes, or an event that has no number yet.
        size: its size in bytes, or slightly more.
        waited_for: whether a caller waits for it. That caller is told of a failure; other failures are counted.
        number: its position among all messages, given by the loop.
        message_id: a unique id, by which JetStream recognises a repetition.
        sequence: the number of an event, 0 before it is sent.
        times_sent: how often it was handed to a connection; from the first time on it may be stored.
        withdrawn: whether its caller has given up waiting.
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
        "sequence",
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
        self.number = self.sequence = self.times_sent = 0
        self.settled = self.withdrawn = self._claimed = False
        self.error: BridgeError | ClientClosedError | None = None
        if waited_for:
            self._latch = Latch()
            # Whoever takes it first decides: the loop sends the message, or the caller withdraws it for good.
            self._claim = threading.Lock()

    def settle(self, error: BridgeError | ClientClosedError | None = None) -> None:
        """Note that it is stored, or why it is given up, and wake the caller that waits for it."""
        if not self.settled:
            self.error = error
            self.settled = True  # last: a caller whose time is up reads both without a lock
            if self.waited_for:
                self._latch.open()

    def wait(self, timeout: float) -> None:
        """Wait until it is settled, for `timeout` seconds at most. Only for a message that is `waited_for`."""
        self._latch.wait(timeout)

    def withdraw(self) -> bool:
        """Make sure that it is not sent again, and return whether it never was sent. Called by the one who waits."""
        never_sent = self._claim.acquire(blocking=False)
        self.withdrawn = True
        return never_sent

    def claim(self) -> bool:
        """Take it for sending and return whether its caller has not withdrawn it. Called by the loop."""
        if self.waited_for and not self._claimed:
            self._claimed = self._claim.acquire(blocking=False)
            self.withdrawn = self.withdrawn or not self._claimed
        return not self.withdrawn


class Backlog:
    """A bounded queue of messages. Callers append and wait; everything else is done by the loop's thread.

    Args:
        max_messages: limit on messages. Callers that push at the very same time may exceed it by one each.
        max_bytes: limit on their total size in bytes; a larger message is taken when the backlog is empty.
        wake: called when the loop must look at the backlog again, once for each burst of messages.
        start: called before the first message is taken; if it raises, no message is taken.
    """

    def __init__(
        self, max_messages: int, max_bytes: int, wake: Callable[[], None], start: Callable[[], None] | None = None
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._wake = wake
        self._start = start
        self._name = secrets.token_hex(8)
        # Callers append messages, and latches for what they wait for; the loop takes both out.
        self._incoming: deque[Message | Latch] = deque()
        self._incoming_bytes = 0
        self._blocked: deque[Latch] = deque()
        # The loop counts how often it goes idle; callers note the count for which they have woken it.
        self._idle_count = 0
        self._woken_for: int | None = None
        self._refusal: BridgeError | ClientClosedError | None = None
        self._reported = 0
        # Only the loop uses the rest.
        self._messages: deque[Message] = deque()
        self._unsent: deque[Message] = deque()
        self._bytes = 0
        self._taken = 0
        self._barriers: deque[tuple[int, Latch]] = deque()
        self._failed = 0
        # Why each of those that are not reported yet was given up, by how many were given up before it.
        self._causes: dict[int, BridgeError | ClientClosedError] = {}

    # Called by any thread.

    def append(self, message: Message, timeout: float | None = None) -> bool:
        """Append a message; wait up to `timeout` seconds while there is no room. Return whether it was appended.

        Raises:
            ClientClosedError: the backlog is closed, or was closed during the wait.
            BridgeError: the loop cannot be started, or has ended.
        """
        if not self._has_room(message.size) and not self._wait_for_room(message.size, timeout):
            return False
        if self._refusal is not None:
            raise copy(self._refusal)  # several threads may raise it, each with its own traceback
        self._incoming_bytes += message.size
        self._put(message)
        return True

    def barrier(self) -> Latch:
        """Return a latch that opens when everything appended before is settled."""
        latch = Latch()
        # In this order: the loop moves messages from the first to the second, and each is always in one of them.
        if self._incoming or self._messages:
            self._put(latch)
        else:
            latch.open()
        return latch

    def _put(self, item: Message | Latch) -> None:
        if self._woken_for is None and self._start is not None:
            self._start()
        try:
            self._incoming.append(item)
        finally:  # an interrupt may come in between
            self._wake_loop()

    def _wake_loop(self) -> None:
        idle_count = self._idle_count
        if self._woken_for != idle_count:
            self._wake()
            # Only now: if an interrupt prevents the waking, the next caller does it. If the loop goes idle again in
            # the meantime, the count is another one, and the next message wakes it once more.
            self._woken_for = idle_count

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
            if self._has_room(size):  # it was made before the loop could see the latch
                return True
            if not latch.wait(None if deadline is None else deadline.remaining()):
                return self._has_room(size)
        return True

    @property
    def failed(self) -> int:
        """How many messages were given up so far that no caller waited for."""
        return self._failed

    def raise_failures(self, *, up_to: int | None = None, is_stored: bool = False) -> None:
        """Raise an error that counts the messages given up since the last call, if there were any.

        Args:
            up_to: the value of `failed` to count up to; later failures are left to the next call.
            is_stored: whether the caller's own message is stored, which the error then says.
        """
        if self._failed != self._reported:
            error = self.take_failures(up_to=up_to, is_stored=is_stored)
            if error is not None:
                raise error from error.__cause__

    def take_failures(self, *, up_to: int | None = None, is_stored: bool = False) -> UndeliveredError | None:
        """Return an error that counts the messages given up since the last call, None if there were none."""
        failed, reported = self._failed if up_to is None else up_to, self._reported
        cause = self._causes.get(reported)
        if failed <= reported or cause is None:  # None: another thread has just taken them
            return None
        error = _undelivered(failed - reported, cause, is_stored=is_stored)
        error.__cause__ = cause
        self._reported = failed
        return error

    def refuse_more(self, error: BridgeError | ClientClosedError) -> None:
        """Take no more messages: pushing one raises `error`, and so does waiting for room."""
        self._refusal = self._refusal or error
        self._unblock()

    def __len__(self) -> int:
        """Return how many messages are not settled yet."""
        return sum(isinstance(item, Message) for item in self._incoming.copy()) + len(self._messages)

    # Called by the loop.

    def has_incoming(self) -> bool:
        """Return whether callers have appended something that was not taken in yet."""
        return bool(self._incoming)

    def has_more(self) -> bool:
        """Return whether there is a message to send; if not, the next one wakes the loop."""
        if not self._has_unsent():
            self._idle_count += 1
        return self._has_unsent()  # it may have come before callers could see the new count

    def _has_unsent(self) -> bool:
        self._take_in()
        while self._unsent and (self._unsent[0].settled or self._unsent[0].withdrawn):
            self._unsent.popleft()
        return bool(self._unsent)

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
        self._unsent.append(message)

    def _shorten(self) -> None:
        before = len(self._messages)
        while self._messages and (self._messages[0].settled or self._messages[0].withdrawn):
            self._bytes -= self._messages.popleft().size
        first = self._messages[0].number if self._messages else self._taken + 1
        while self._barriers and self._barriers[0][0] < first:
            self._barriers.popleft()[1].open()
        if len(self._messages) < before and self._is_roomy():
            self._unblock()

    def _is_roomy(self) -> bool:
        """Return whether it is worth waking callers: for a place or two it takes the interpreter away from the loop."""
        held = len(self._messages) + len(self._incoming)
        return 4 * held <= 3 * self._max_messages and 4 * (self._bytes + self._incoming_bytes) <= 3 * self._max_bytes

    def _unblock(self) -> None:
        with suppress(IndexError):  # a caller may close the backlog at the same time
            while True:
                self._blocked.popleft().open()

    def next_run(self, max_messages: int, max_bytes: int) -> list[Message]:
        """Take out the next messages to send that go to one stream: at least one if there is any."""
        self._take_in()
        run: list[Message] = []
        while self._unsent:
            message = self._unsent[0]
            if not message.settled and not message.withdrawn:
                max_bytes -= message.size
                if run and (max_bytes < 0 or len(run) == max_messages or message.stream != run[0].stream):
                    break
                run.append(message)
            self._unsent.popleft()
        return run

    def rewind(self) -> None:
        """Have everything that is not settled sent again."""
        self._unsent = deque(self._messages)

    def unconfirmed(self) -> list[Message]:
        """Return the messages that were sent and may be stored."""
        return [message for message in self._messages if message.times_sent and not message.settled]

    def settle(self, messages: Iterable[Message]) -> None:
        """Note that the messages are stored."""
        for message in messages:
            message.settle()
        self._shorten()

    def fail(self, messages: Iterable[Message], error: BridgeError | ClientClosedError) -> None:
        """Give up those of the messages that are not settled."""
        for message in messages:
            if not message.settled:
                message.settle(error)
                if not message.waited_for:
                    self._count_failure(error)
        self._shorten()

    def _count_failure(self, error: BridgeError | ClientClosedError) -> None:
        while self._causes and (first := next(iter(self._causes))) < self._reported:
            del self._causes[first]
        self._causes[self._failed] = error
        self._failed += 1

    def fail_all(self, error: BridgeError | ClientClosedError) -> None:
        """Give up everything."""
        self._take_in()
        self.fail(list(self._messages), error)

    def fail_unsent(self, error: BridgeError | ClientClosedError) -> None:
        """Give up the messages that were never sent."""
        self._take_in()
        self.fail([message for message in self._messages if not message.times_sent], error)

    def fail_waiting(self, error: BridgeError) -> None:
        """Give up the messages that callers wait for and that were never sent."""
        self._take_in()
        self.fail([message for message in self._messages if message.waited_for and not message.times_sent], error)

    def end(self, error: BridgeError | ClientClosedError) -> None:
        """Give up everything and refuse new messages: the loop no longer delivers them."""
        self.refuse_more(error)
        self._idle_count += 1  # so that whoever appends from now on finds that the loop cannot be woken
        self.fail_all(error)


def _undelivered(count: int, cause: BaseException | None, *, is_stored: bool) -> UndeliveredError:
    """Return an error that says how many messages were given up, and why the first of them was."""
    earlier = "earlier " if is_stored else ""
    what = f"1 {earlier}message was" if count == 1 else f"{count} {earlier}messages were"
    remark = " (this one was)" if is_stored else ""
    return UndeliveredError(f"{what} not stored{remark}; the first cause: {cause}", undelivered=count)
