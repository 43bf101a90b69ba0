"""The futures of a client, and the thread that has them polled."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.lifecycle import renew_after_fork
from flow_client._core.log import logger
from flow_client._waiting.completion_hints import OptionalHints
from flow_client._waiting.durations import ComponentDurations
from flow_client._waiting.execution_future import ExecutionFuture
from flow_client._waiting.learned_schedule import LearnedSchedule
from flow_client._waiting.pace import Pace
from flow_client._waiting.pending_poll import PendingPoll
from flow_client._waiting.polling import PollSchedule, Watch
from flow_client._waiting.stats import ClientStats
from flow_client.config import DEFAULT_MAX_POLLS_PER_SECOND
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._waiting.completion_hints import CompletionHints
    from flow_client._waiting.dispatcher import Command, Dispatcher
    from flow_client._waiting.polling import Poll

THREAD_NAME = "flow-client-futures"


class FuturePoller:
    """Settles the futures of a client, from daemon threads that live from the first of them to the last.

    One thread decides which future is polled when (`Dispatcher`), up to 32 others send the requests (`Lanes`). It can
    be used in signal handlers, and an interrupt at any point leaves nothing locked.

    Args:
        poll: reads an execution's record.
        open_hints: called by the thread when it starts; returns None where there are no hints.
        rate: limit on the requests a second.
        schedule: the pauses between polls while nothing is known of the component's durations.

    Attributes:
        pace: the requests a second, which a client's batches share.
    """

    def __init__(
        self,
        poll: Callable[..., Poll],
        open_hints: Callable[[], CompletionHints | None] = lambda: None,
        rate: float = DEFAULT_MAX_POLLS_PER_SECOND,
        schedule: PollSchedule = PollSchedule(),  # noqa: B008 - it is frozen
    ) -> None:
        self._poll = poll
        self._open_hints = open_hints
        self._schedule = schedule
        self._closed = False
        self.pace = Pace(rate)
        self._durations = ComponentDurations()
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        # A signal handler may ask for futures too, while its thread holds the lock.
        self._lock = threading.RLock()
        self._pending: dict[Future[ExecutionRecord], PendingPoll] = {}
        # Its put() is one step to an interrupt: a Condition that Ctrl-C interrupts half-way stays locked for good.
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._hints = OptionalHints(self._open_hints)
        self._thread: threading.Thread | None = None
        self._dispatcher: Dispatcher | None = None

    def future(self, execution_id: str, timeout: float | None, component: str = "") -> ExecutionFuture:
        """Return a new future of the execution; it fails with `ExecutionWaitTimeout` after `timeout` seconds, if given.

        Args:
            execution_id: the execution.
            timeout: seconds until the future fails, None for no limit.
            component: what was submitted; executions of one component take about as long as each other. Empty for an
                execution that was submitted elsewhere.

        Raises:
            ClientClosedError: the client was closed.
            PlatformClientError: the thread cannot be started.
        """
        schedule = LearnedSchedule(self._durations.of(component), self._schedule, self._hints.unheard)
        watch = Watch(execution_id, Deadline(math.inf if timeout is None else timeout), schedule)
        future = ExecutionFuture(execution_id)
        future.add_done_callback(self._forget)
        # An execution that was just submitted has hardly ended yet.
        due = time.monotonic() + watch.within_deadline(watch.pause())
        with self._lock:
            if self._closed:
                raise ClientClosedError("the client was closed; create a new one")
            self._enter(PendingPoll(future, watch, schedule, is_new=bool(component)), due)
        return future

    def prioritise(self, execution_id: str) -> None:
        """Poll the execution next: it is said to have ended. Any thread may call this, and none waits."""
        self._commands.put(lambda dispatcher: dispatcher.hint(execution_id))

    def stats(self) -> ClientStats:
        """Return how the futures are polled at this moment."""
        dispatcher = self._dispatcher
        return ClientStats(
            watched=len(self._pending),
            lanes=dispatcher.lanes.count if dispatcher else 0,
            held=dispatcher.held if dispatcher else 0,
            requests_per_second=self.pace.rate.per_second,
            resting=self.pace.resting,
            requests=self.pace.requests,
            refusals=self.pace.refusals,
        )

    def close(self) -> None:
        """Fail the pending futures. Can be called twice. Requests under way are given up within a moment."""
        with self._lock:
            self._closed = True
        self._wake()
        for pending in list(self._pending.values()):
            execution_id = pending.execution_id
            message = f"the client was closed before execution {execution_id} ended; it goes on"
            pending.future.settle(ClientClosedError(message, execution_id=execution_id))

    def after_fork_in_child(self) -> None:
        """Fail the futures of the parent, whose threads do not run here, and start afresh."""
        inherited = list(self._pending.values())
        self._begin()
        for pending in inherited:
            pending.future.fail_in_child()

    def _enter(self, pending: PendingPoll, due: float) -> None:
        self._pending[pending.future] = pending
        try:
            self._commands.put(lambda dispatcher: dispatcher.add(pending, due))
            # A thread whose start was interrupted is not alive.
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
                self._thread = thread
                # Not `self._thread`: a signal handler may have replaced it.
                thread.start()
        except BaseException as error:
            self._pending.pop(pending.future, None)
            self._wake()
            if isinstance(error, RuntimeError):
                raise PlatformClientError(f"the thread that polls for futures cannot be started: {error}") from error
            raise

    def _forget(self, future: Future[ExecutionRecord]) -> None:
        """Drop a future that is done or was cancelled."""
        pending = self._pending.pop(future, None)
        if pending is None:
            return
        if future.cancelled():
            pending.future.settle()
        self._commands.put(lambda dispatcher: dispatcher.remove(pending))

    def _wake(self) -> None:
        """Have the thread see whether there is still work."""
        self._commands.put(lambda _: None)

    def _run(self) -> None:
        from flow_client._waiting.dispatcher import Dispatcher  # noqa: PLC0415 - loaded by those who have futures

        try:
            dispatcher = Dispatcher(self._poll, self._hints, self.pace, self._commands, self.prioritise)
            self._dispatcher = dispatcher
            dispatcher.serve(self._has_work)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._fail_all(error)

    def _has_work(self) -> bool:
        # A thread whose start was interrupted may have been replaced.
        is_ours = self._thread is threading.current_thread()
        # Never waited for: its holder may be a thread whose signal handler waits for a future. It puts a command last.
        if not self._lock.acquire(blocking=False):
            return is_ours
        try:
            if is_ours and not self._pending:
                self._thread = self._dispatcher = None
            return is_ours and bool(self._pending)
        finally:
            self._lock.release()

    def _fail_all(self, error: BaseException) -> None:
        """Fail the pending futures: this thread cannot go on. The next future starts another one."""
        logger.error("the thread that polls for futures failed", exc_info=error)
        if self._thread is not threading.current_thread():
            return
        # Without the lock, as in `_has_work`: who adds a future from here on finds no thread and starts one.
        self._thread = self._dispatcher = None
        for pending in list(self._pending.values()):
            execution_id = pending.execution_id
            failure = PlatformClientError(
                f"the thread that polls for futures failed: {error!r}; execution {execution_id} goes on: "
                f"take client.execution({execution_id!r}).future() again",
                execution_id=execution_id,
            )
            failure.__cause__ = error
            pending.future.settle_quietly(failure)
