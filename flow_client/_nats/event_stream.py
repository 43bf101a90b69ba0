"""The iterator over an execution's events."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from flow_client._api._generated.models import ExecutionEvent
from flow_client._core.synchronous import not_async
from flow_client._nats.events import LONGEST_READ
from flow_client._nats.reader import LONGEST_LEAVE
from flow_client.errors import ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._nats.events import EventReader


class EventStream(Iterator[ExecutionEvent]):
    """Yields the events of one execution as they come, until the last one, an error, or `close()`.

    Dropping it ends it too. It is not a generator: the garbage collector closes a generator in whatever thread it runs
    in, which may be the loop's own, or one that holds a lock.

    Args:
        reader: reads the events, in the loop.
        run: runs a coroutine function in the loop; `timeout` is how many seconds it may take.
    """

    def __init__(self, reader: EventReader, run: Callable[..., Any]) -> None:
        self._reader = reader
        self._run = run
        self._events: deque[ExecutionEvent] = deque()
        self._leave = weakref.finalize(self, reader.leave)
        self._leave.atexit = False  # the bridge is closed then

    def __next__(self) -> ExecutionEvent:
        while not self._events:
            if not self._leave.alive or self._reader.over:
                self._leave()
                raise StopIteration
            self._events.extend(self._read())
        return self._events.popleft()

    if not TYPE_CHECKING:  # a type checker shall find it missing

        def __aiter__(self) -> NoReturn:
            raise not_async("write `for` in place of `async for`")

    def close(self) -> None:
        """Stop reading, and return when nothing of it is left on the server. It can be called twice."""
        self._events.clear()
        if self._leave.detach() and self._reader.has_begun:
            with suppress(ClientClosedError):  # it ended with the bridge
                self._run(self._reader.close, timeout=LONGEST_LEAVE)

    def _read(self) -> list[ExecutionEvent]:
        try:
            events: list[ExecutionEvent] = self._run(self._reader.read, timeout=LONGEST_READ)
        except BaseException:
            self._leave()
            raise
        return events
