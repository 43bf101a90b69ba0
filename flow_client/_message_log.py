"""The messages that are not acknowledged yet, in the order in which they were given, shared by threads and the loop."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING

from flow_client._messages import EventDraft
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
        message_id: a name of its own, by which JetStream recognises a repetition.
        times_sent: how often it was sent; from the first time on it may be stored.
        settled: whether it is stored or given up.
        error: why it was given up.
    """

    __slots__ = (
        *("_latch", "content", "error", "message_id", "number", "settled", "size", "stream", "subject", "times_sent"),
        *("waited_for", "withdrawn"),
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
        self.settled = self.withdrawn = False
        self.error: BridgeError | ClientClosedError | None = None
        # Not the log's condition: that would wake all who wait for anything, and takes longer.
        self._latch = threading.Lock()
        if waited_for:
            self._latch.acquire()

    def settle(self, error: BridgeError | ClientClosedError | None = None) -> None:
        """Note that it is stored, or why it is given up, and wake the caller that waits for it."""
        if not self.settled:
            self.error = error
            self.settled = True  # last: a caller whose time is over looks at both without a lock
            if self.waited_for:
                self._latch.release()

    def wait(self, timeout: float) -> None:
        """Wait until it is settled or the time is over. Only the one caller that it is `waited_for` by may, once."""
        self._latch.acquire(timeout=timeout)


class MessageLog:
    """An ordered log with bounds. Callers append and wait; the loop takes from its head.

    Args:
        max_messages: how many messages it holds at most.
        max_bytes: how many bytes it holds at most; a larger message has it to itself.
        wake: called when the loop must look at the log again, once for each burst.
    """

    def __init__(self, max_messages: int, max_bytes: int, wake: Callable[[], None]) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._wake = wake
        # Reentrant: a signal's handler may push an event while its thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._awake = False
        self._closed = False
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._failed = 0
        self._cause: BridgeError | ClientClosedError | None = None

    def append(self, message: Message, timeout: float | None = None) -> bool:
        """Append a message; wait while there is no room for it. Return whether there was in time.

        Raises:
            ClientClosedError: the log was closed, before or meanwhile.
            BridgeError: the loop cannot be started.
        """
        with self._changed:
            if not self._has_room(message.size):
                self._changed.wait_for(lambda: self._closed or self._has_room(message.size), timeout)
            if self._closed:
                raise ClientClosedError("the bridge is closed")
            if not self._has_room(message.size):
                return False
            if not self._awake:
                self._wake()
                self._awake = True
            message.number = next(self._numbers)
            message.message_id = f"{self._name}-{message.number}"
            self._bytes += message.size
            self._messages.append(message)
            return True

    def wait_for_all(self, timeout: float) -> bool:
        """Wait until all that was appended before is settled and return whether it is."""
        with self._changed:
            last = self._messages[-1].number if self._messages else 0
            return self._changed.wait_for(lambda: not self._messages or self._messages[0].number > last, timeout)

    def withdraw(self, message: Message) -> bool:
        """Send the message no more and return whether it was never sent."""
        with self._changed:
            message.withdrawn = True
            self._shorten()
            return not message.times_sent

    def raise_failures(self, remark: str = "") -> None:
        """Raise an error that counts what was given up since the last call, if anything was."""
        if not self._failed:
            return
        with self._changed:
            count, cause = self._take_failures()
        if count:
            raise undelivered(count, cause, remark) from cause

    def close(self, error: ClientClosedError) -> tuple[int, BaseException | None]:
        """Give up what is left, and return how much was given up since the last call and the first cause."""
        with self._changed:
            self._closed = True
            self.fail([message for message in self._messages if not message.settled], error)
            return self._take_failures()

    def _take_failures(self) -> tuple[int, BaseException | None]:
        failures = self._failed, self._cause
        self._failed, self._cause = 0, None
        return failures

    def refuse_more(self) -> None:
        """Take no more messages; who waits for room is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._messages)

    def has_more(self) -> bool:
        """Return whether there is a message to be sent; if not, the next one wakes the loop."""
        with self._changed:
            self._shorten()
            self._awake = bool(self._messages)
            return self._awake

    def next_run(self, max_messages: int, max_bytes: int) -> list[Message]:
        """Return the messages at the head that go to one stream, one at least if there is any."""
        run: list[Message] = []
        with self._changed:
            for message in self._messages:
                if message.settled or message.withdrawn:
                    continue
                max_bytes -= message.size
                if run and (max_bytes < 0 or len(run) == max_messages or message.stream != run[0].stream):
                    break
                run.append(message)
        return run

    def send(self, run: Iterable[Message]) -> list[Message]:
        """Return those that are still to be sent; from now on they may be stored."""
        with self._changed:
            sending = [message for message in run if not message.withdrawn]
            for message in sending:
                message.times_sent += 1
        return sending

    def in_doubt(self) -> list[Message]:
        """Return the messages that may be stored."""
        with self._changed:
            return [message for message in self._messages if message.times_sent and not message.settled]

    def settle(self, messages: Iterable[Message]) -> None:
        """Note that the messages are stored."""
        with self._changed:
            for message in messages:
                message.settle()
            self._shorten()

    def fail(self, messages: Iterable[Message], error: BridgeError | ClientClosedError) -> None:
        """Give the messages up."""
        with self._changed:
            for message in messages:
                message.settle(error)
                if not message.waited_for:
                    self._failed += 1
                    self._cause = self._cause or error
            self._shorten()

    def fail_all(self, error: BridgeError) -> None:
        """Give everything up."""
        with self._changed:
            self.fail([message for message in self._messages if not message.settled], error)

    def fail_waiting(self, error: BridgeError) -> None:
        """Give up what callers wait for and what was never sent."""
        with self._changed:
            self.fail([message for message in self._messages if message.waited_for and not message.times_sent], error)

    def _has_room(self, size: int) -> bool:
        if not self._messages:
            self._bytes = 0  # an interrupted append may have left something behind
            return True
        return len(self._messages) < self._max_messages and self._bytes + size <= self._max_bytes

    def _shorten(self) -> None:
        before = len(self._messages)
        while self._messages and (self._messages[0].settled or self._messages[0].withdrawn):
            self._bytes -= self._messages.popleft().size
        if len(self._messages) < before:  # who is woken for nothing takes the interpreter from the loop
            self._changed.notify_all()


def undelivered(count: int, cause: BaseException | None, remark: str = "") -> UndeliveredError:
    """Return an error that says how many messages were not stored, and why the first of them was not."""
    what = "1 message was" if count == 1 else f"{count} messages were"
    return UndeliveredError(f"{what} not stored{remark}; the first cause: {cause}", undelivered=count)
