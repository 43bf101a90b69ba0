"""Settles the futures of executions: one thread polls for all of them, however many, at a bounded rate."""

from __future__ import annotations

import math
import queue
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.lifecycle import renew_after_fork
from flow_client._core.log import logger
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.completion_hints import OptionalHints
from flow_client._waiting.execution_future import ExecutionFuture
from flow_client._waiting.poll_queue import PendingPoll, PollQueue
from flow_client._waiting.polling import PollSchedule, Watch
from flow_client._waiting.rate_limit import RateLimit
from flow_client.config import DEFAULT_MAX_POLLS_PER_SECOND
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._waiting.completion_hints import CompletionHints
    from flow_client._waiting.polling import Poller

THREAD_NAME = "flow-client-futures"


class FuturePoller:
    """Settles the futures of a client, from one daemon thread that lives from the first of them to the last.

    It sends one request at a time, the one most overdue first, and asks the platform to hold none: one thread cannot
    hold a thousand. With `n` futures, each is polled at most once in `n / rate` seconds, so its end is noticed up to
    that much later. An execution that is said to have finished is polled before the others.

    Args:
        poll: reads an execution's record.
        open_hints: called by the thread when it starts; returns None where there are no hints.
        rate: how many requests a second may be sent.
    """

    def __init__(
        self,
        poll: Poller,
        open_hints: Callable[[], CompletionHints | None] = lambda: None,
        rate: float = DEFAULT_MAX_POLLS_PER_SECOND,
    ) -> None:
        self._poll = poll
        self._open_hints = open_hints
        self._rate = rate
        self._closed = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        # A signal handler may ask for futures too, while its thread holds the lock.
        self._lock = threading.RLock()
        self._pending: dict[Future[ExecutionRecord], PendingPoll] = {}
        # Its put() is one step to an interrupt: a Condition that Ctrl-C interrupts half-way stays locked for good.
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._queue = PollQueue()
        self._hints = OptionalHints(self._open_hints)
        self._rate_limit = RateLimit(self._rate)
        self._thread: threading.Thread | None = None

    def future(self, execution_id: str, timeout: float | None) -> ExecutionFuture:
        """Return a new future of the execution; it fails with `ExecutionWaitTimeout` after `timeout` seconds, if given.

        Raises:
            ClientClosedError: the client was closed.
            PlatformClientError: the thread cannot be started.
        """
        deadline = Deadline(math.inf if timeout is None else timeout)
        watch = Watch(execution_id, deadline, PollSchedule(), longest_hold=0)
        future = ExecutionFuture(execution_id)
        future.add_done_callback(self._forget)
        # An execution that was just submitted has hardly finished yet.
        due = time.monotonic() + watch.within_deadline(watch.pause())
        with self._lock:
            if self._closed:
                raise ClientClosedError("the client was closed; create a new one")
            self._enter(PendingPoll(future, watch), due)
        return future

    def prioritise(self, execution_id: str) -> None:
        """Poll the execution next: it is said to have finished. Any thread may call this, and none waits."""
        # Not the queue of this moment: the thread may have another one by then.
        self._commands.put(lambda: self._queue.prioritise(execution_id))

    def close(self) -> None:
        """Fail the pending futures. Can be called twice. The thread ends when its current request is answered."""
        with self._lock:
            self._closed = True
        self._wake()
        for pending in list(self._pending.values()):
            execution_id = pending.future.execution_id
            message = f"the client was closed before execution {execution_id} ended; it goes on"
            pending.future.settle(ClientClosedError(message, execution_id=execution_id))

    def after_fork_in_child(self) -> None:
        """Fail the futures of the parent, whose thread does not run here, and start afresh."""
        inherited = list(self._pending.values())
        self._begin()
        for pending in inherited:
            pending.future.fail_in_child()

    def _enter(self, pending: PendingPoll, due: float) -> None:
        self._pending[pending.future] = pending
        try:
            self._commands.put(partial(self._add, pending, due))
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
        self._commands.put(partial(self._remove, pending))

    def _wake(self) -> None:
        """Have the thread see whether there is still work."""
        self._commands.put(lambda: None)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._fail_all(error)

    def _serve(self) -> None:
        polls = self._queue
        self._hints.open()
        while self._has_work():
            self._take_commands(self._next_due())
            if self._next_due() <= time.monotonic():
                self._step(self._queue.pop(time.monotonic()))
        for pending in polls:
            self._hints.drop(pending.future.execution_id, self.prioritise)

    def _has_work(self) -> bool:
        # A thread whose start was interrupted may have been replaced.
        is_ours = self._thread is threading.current_thread()
        # Never waited for: its holder may be a thread whose signal handler waits for a future. It puts a command last.
        if not self._lock.acquire(blocking=False):
            return is_ours
        try:
            if is_ours and not self._pending:
                self._thread = None
                self._queue = PollQueue()
            return is_ours and bool(self._pending)
        finally:
            self._lock.release()

    def _next_due(self) -> float:
        return max(self._queue.next_due(), self._rate_limit.next_at)

    def _take_commands(self, until: float) -> None:
        """Carry out what other threads have asked for; if that is nothing, sleep for it, until `until` at most."""
        # Emptied first: at a queue that nobody has found empty, Python 3.10 may take a short time-out for none.
        is_idle = not self._take_all_commands()
        timeout = min(until - time.monotonic(), threading.TIMEOUT_MAX)
        if is_idle and timeout > 0:
            with suppress(queue.Empty):
                self._commands.get(timeout=timeout)()

    def _take_all_commands(self) -> bool:
        """Carry out the commands that are there, and return whether there were any."""
        were_there = False
        with suppress(queue.Empty):
            while True:
                self._commands.get_nowait()()
                were_there = True
        return were_there

    def _add(self, pending: PendingPoll, due: float) -> None:
        self._queue.add(pending, due)
        self._hints.expect(pending.future.execution_id, self.prioritise)

    def _remove(self, pending: PendingPoll) -> None:
        if self._queue.remove(pending):
            self._hints.drop(pending.future.execution_id, self.prioritise)

    def _step(self, pending: PendingPoll) -> None:
        self._rate_limit.note_request()
        try:
            outcome = pending.watch.step(self._poll)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's: a token function may exit
            trim_traceback(error)
            self._settle(pending.future, error)
            return
        if isinstance(outcome, float):
            self._queue.schedule(pending, time.monotonic() + outcome)
        else:
            self._settle(pending.future, outcome)

    def _fail_all(self, error: BaseException) -> None:
        """Fail the pending futures: this thread cannot go on. The next future starts another one."""
        logger.error("the thread that polls for futures failed", exc_info=error)
        if self._thread is not threading.current_thread():
            return
        # Without the lock, as in `_has_work`: who adds a future from here on finds no thread and starts one.
        self._queue, self._thread = PollQueue(), None
        for pending in list(self._pending.values()):
            execution_id = pending.future.execution_id
            failure = PlatformClientError(
                f"the thread that polls for futures failed: {error!r}; execution {execution_id} goes on: "
                f"take client.execution({execution_id!r}).future() again",
                execution_id=execution_id,
            )
            failure.__cause__ = error
            self._settle(pending.future, failure)

    @staticmethod
    def _settle(future: ExecutionFuture, outcome: ExecutionRecord | BaseException) -> None:
        try:
            future.settle(outcome)
        except BaseException:  # noqa: BLE001 - the other futures must not suffer for it
            logger.exception("a callback of the future of execution %s raised", future.execution_id)
