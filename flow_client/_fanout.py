"""Many executions of one kind: submitted as places become free, yielded in the order of their inputs."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from flow_client._checks import whole_number
from flow_client._log import say_what_is_left
from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from flow_client._progress import Progress
    from flow_client.executions import ExecutionHandle
    from flow_client.models import ExecutionRecord

AHEAD = 4
"""How many times `max_in_flight` executions may be submitted and not yielded: one that takes long holds up the rest."""


@dataclass(frozen=True)
class _Place:
    """An input's place in the order: its execution, None if it could not be submitted, and what comes of it."""

    execution_id: str | None
    future: Future[ExecutionRecord]


class FanOut:
    """One `PlatformClient.map` under way.

    Args:
        submit: `submit(item)`, or `submit(item, idempotency_key=…)` with a `key`, returns the item's handle.
        inputs: the items, read one by one as places become free.
        max_in_flight: how many may be submitted and unfinished.
        key: what the idempotency keys derive from, None for keys of their own.
        timeout: seconds for which each execution is waited for.
        return_exceptions: whether an item's error is yielded in its place.
        progress: follows what has ended.
    """

    def __init__(
        self,
        submit: Callable[..., ExecutionHandle],
        inputs: Iterable[Any],
        *,
        max_in_flight: int,
        key: str | None,
        timeout: float | None,
        return_exceptions: bool,
        progress: Progress,
    ) -> None:
        self._submit = submit
        self._inputs = iter(inputs)
        self._max_in_flight = whole_number(max_in_flight, "max_in_flight", InvalidRequestError)
        self._key = _checked_key(key)
        self._timeout = timeout
        self._return_exceptions = return_exceptions
        self._progress = progress
        self._places: deque[_Place] = deque()
        self._submitted = 0
        self._ended = False
        self._broken: Exception | None = None

    def outcomes(self) -> Generator[Any, None, None]:
        """Yield the records in the order of the inputs."""
        try:
            with self._progress:
                while self._fill():
                    yield self._next()
        except BaseException as error:
            self._leave(error)
            raise
        if self._broken is not None:
            raise self._broken

    def _fill(self) -> bool:
        """Submit while there is room; return whether there is anything to be yielded."""
        while self._has_room():
            self._start_next()
        return bool(self._places)

    def _has_room(self) -> bool:
        in_order = len(self._places) < AHEAD * self._max_in_flight
        return not self._ended and in_order and len(self._in_flight()) < self._max_in_flight

    def _start_next(self) -> None:
        try:
            item = next(self._inputs)
        except StopIteration:
            self._ended = True
        except Exception as error:  # noqa: BLE001 - it comes out behind the records before it
            self._ended, self._broken = True, error
        else:
            self._places.append(self._start(item))
            self._progress.follow(self._places[-1].future)

    def _start(self, item: Any) -> _Place:
        options = {} if self._key is None else {"idempotency_key": derived_key(self._key, self._submitted)}
        self._submitted += 1
        try:
            handle = self._submit(item, **options)
            _check_passed_on(handle, **options)
            return _Place(handle.execution_id, handle.future(self._timeout))
        except Exception as error:  # noqa: BLE001 - it is the item's, and comes out at its place
            failed: Future[ExecutionRecord] = Future()
            failed.set_exception(error)
            # Nothing behind it would be yielded.
            self._ended = not self._return_exceptions
            return _Place(None, failed)

    def _next(self) -> ExecutionRecord | BaseException:
        """Return what came of the first item; while it is under way, others take the places that become free."""
        while not self._places[0].future.done():
            self._progress.show()
            futures = [place.future for place in self._in_flight()]
            wait(futures, timeout=self._progress.refresh_seconds, return_when=FIRST_COMPLETED)
            self._fill()
        self._progress.show()
        future = self._places.popleft().future
        error = future.exception()
        return error if error is not None and self._return_exceptions else future.result()

    def _in_flight(self) -> list[_Place]:
        return [place for place in self._places if not place.future.done()]

    def _leave(self, interrupt: BaseException) -> None:
        """Wait for nothing more, and say what is left behind."""
        places = self._in_flight()
        for place in places:
            place.future.cancel()
        if places:
            again = f"map again with key={self._key!r} and the same inputs takes them up"
            ids = f"take them up with client.execution(): {', '.join(str(place.execution_id) for place in places)}"
            count = f"map was left with {len(places)} executions in flight; they go on"
            say_what_is_left(f"{count}: {again if self._key else ids}", interrupt)


def derived_key(key: str, position: int) -> str:
    """Return the idempotency key of one item: another one for any other key or position."""
    return f"{sha256(key.encode(errors='surrogatepass')).hexdigest()}-{position}"


def _check_passed_on(handle: ExecutionHandle, idempotency_key: str | None = None) -> None:
    if idempotency_key is not None and handle.idempotency_key != idempotency_key:
        raise InvalidRequestError(
            "submit did not pass its idempotency_key on: with key=… every run would start the executions anew; "
            "write it like lambda item, **key: client.submit_…(…, **key)",
            execution_id=handle.execution_id,
        )


def _checked_key(key: str | None) -> str | None:
    if key is None or (isinstance(key, str) and key):
        return key
    raise InvalidRequestError(f"key is {key!r}; it must be a string that is not empty")
