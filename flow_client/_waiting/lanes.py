"""The threads in which the requests of futures are made."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from flow_client._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], object]

MOST_LANES = 32
"""How many requests of a client's futures are under way at once: 1,000 a second, 32 ms away."""
IDLE_SECONDS = 5.0
THREAD_NAME = "flow-client-lane"


class Lanes:
    """Daemon threads that each carry out one job at a time: started as they are needed, ended when they are idle.

    The one that became idle last gets the next job, so that those which are not needed stay idle. One thread uses it;
    a lane that has finished its job tells that thread so.

    Args:
        post: has a function called in that thread.
        most: the limit on the lanes.
        clock: seconds that only grow.

    Attributes:
        count: how many lanes there are.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], None]], None],
        most: int = MOST_LANES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._post = post
        self._most = most
        self._clock = clock
        self._idle: list[_Lane] = []
        self._busy: set[_Lane] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def has_room(self) -> bool:
        """Whether another job can be given."""
        return bool(self._idle) or self.count < self._most

    def give(self, job: Job) -> None:
        """Have a lane carry out `job`; without any lane, if the system starts no thread, do so here."""
        lane = self._idle.pop() if self._idle else self._started()
        if lane is None:
            job()
        else:
            self._busy.add(lane)
            lane.jobs.put(job)

    def next_retirement(self) -> float:
        """Return when `retire` has something to do, infinity if that is never."""
        return self._idle[0].idle_since + IDLE_SECONDS if self._idle else float("inf")

    def retire(self) -> None:
        """End the lanes that have been idle for long."""
        while self.next_retirement() <= self._clock():
            self._idle.pop(0).jobs.put(None)

    def close(self) -> None:
        """End all lanes, those that are busy as soon as they have finished. No job is given any more."""
        self._is_closed = True
        for lane in (*self._idle, *self._busy):
            lane.jobs.put(None)
        self._idle.clear()

    def _started(self) -> _Lane | None:
        lane = _Lane(self._finished)
        try:
            threading.Thread(target=lane.run, name=THREAD_NAME, daemon=True).start()
        except RuntimeError as error:
            logger.debug("no further thread can be started for polls: %s", error)
            return None
        return lane

    def _finished(self, lane: _Lane) -> None:
        self._post(partial(self._rest, lane))

    def _rest(self, lane: _Lane) -> None:
        self._busy.discard(lane)
        if not self._is_closed:
            lane.idle_since = self._clock()
            self._idle.append(lane)


class _Lane:
    """One thread and its jobs to come; None among them ends it."""

    def __init__(self, finished: Callable[[_Lane], None]) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.idle_since = 0.0
        self._tell = finished

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            try:
                job()
            except BaseException:  # noqa: BLE001 - the next job needs the lane
                logger.exception("a poll failed in an unexpected way")
            del job  # the record that it read must not live until the next one
            self._tell(self)
