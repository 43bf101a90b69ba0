"""Futures of executions: one thread looks at all of them, however many, within a bounded rate."""

from __future__ import annotations

import math
import queue
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from flow_client._core.deadline import Deadline
from flow_client._core.fork import renew_after_fork
from flow_client._core.interruptible import InterruptibleFuture
from flow_client._core.log import logger
from flow_client._core.tracebacks import trim_traceback
from flow_client._waiting.agenda import Agenda, Watched
from flow_client._waiting.polling import PollSchedule, Watch
from flow_client.errors import ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._waiting.polling import LookAt

THREAD_NAME = "flow-client-futures"
REQUESTS_PER_SECOND = 50
LOOKS_PASSED_OVER = 3
"""How many looks in a row are left out where ends are heard of."""


class CompletionHints(Protocol):
    """Tells of executions that are said to have ended. It may be wrong, and it may miss any of them."""

    @property
    def live(self) -> bool:
        """Whether it listens."""

    def expect(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Have `tell(execution_id)` called, in any thread, when the execution is said to have ended."""

    def drop(self, execution_id: str, tell: Callable[[str], None]) -> None:
        """Take back one `expect`."""


class ExecutionFuture(InterruptibleFuture["ExecutionRecord"]):
    """The future of an execution's terminal record.

    It is never running in the sense of `Future.running()`: `cancel()` always succeeds until it is done. That ends the
    looking; the execution goes on.
    """

    def __init__(self, execution_id: str) -> None:
        super().__init__()
        self.execution_id = execution_id
        self._unclaimed = [None]

    def settle(self, outcome: ExecutionRecord | BaseException | None = None) -> None:
        """Set the record or the error, or tell those who wait that it was cancelled. The first call wins."""
        try:
            self._unclaimed.pop()  # which is atomic
        except IndexError:
            return
        if not self.set_running_or_notify_cancel():
            return
        if isinstance(outcome, BaseException):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)  # type: ignore[arg-type]  # only a cancelled one has no outcome

    def fail_in_child(self) -> None:
        """Fail in a forked child, where no thread will ever settle it; the callbacks are the parent's business."""
        # The parent's thread may have held its lock.
        self._renew_lock()
        if not self.done():
            super().__init__()
            self.set_exception(
                PlatformClientError(
                    "the future was made before the fork and is the parent's: "
                    f"here take client.execution({self.execution_id!r}).future()",
                    execution_id=self.execution_id,
                )
            )


class SharedWaiter:
    """Settles the futures of a client, from one daemon thread that lives from the first of them to the last.

    It sends one request at a time and at most `REQUESTS_PER_SECOND`, oldest due first, and asks for none to be held:
    one thread cannot hold a thousand. With `n` futures, each is looked at about every `n / REQUESTS_PER_SECOND` seconds
    at the most often, so that far their ends are noticed late. An execution that is said to have ended is looked at
    before the others.

    Args:
        look: reads an execution's record.
        open_hints: called by the thread when it starts; returns None where there are no hints.
    """

    def __init__(self, look: LookAt, open_hints: Callable[[], CompletionHints | None] = lambda: None) -> None:
        self._look = look
        self._open_hints = open_hints
        self._closed = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        # A signal handler may ask for futures too, while its thread holds the lock.
        self._lock = threading.RLock()
        self._pending: dict[Future[ExecutionRecord], Watched] = {}
        # Its put() is one step to an interrupt: a Condition that Ctrl-C meets half-way stays locked for good.
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._agenda = Agenda()
        self._hints: CompletionHints | None = None
        self._hints_foretell = False
        self._earliest = 0.0
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
        # A submission that was just answered has hardly ended.
        due = time.monotonic() + watch.within_deadline(watch.pause())
        with self._lock:
            if self._closed:
                raise ClientClosedError("the client was closed; create a new one")
            self._enter(Watched(future, watch, due))
        return future

    def nudge(self, execution_id: str) -> None:
        """Look at the execution next: somebody heard that it has ended. Any thread may call it, and none waits."""
        self._inbox.put(partial(self._hasten, execution_id))

    def close(self) -> None:
        """Fail the pending futures. Can be called twice. The thread ends when its request under way has an answer."""
        with self._lock:
            self._closed = True
        self._wake()
        for watched in list(self._pending.values()):
            execution_id = watched.future.execution_id
            message = f"the client was closed before execution {execution_id} ended; it goes on"
            watched.future.settle(ClientClosedError(message, execution_id=execution_id))

    def after_fork_in_child(self) -> None:
        """Fail the futures of the parent, whose thread does not run here, and begin anew."""
        inherited = list(self._pending.values())
        self._begin()
        for watched in inherited:
            watched.future.fail_in_child()

    def _enter(self, watched: Watched) -> None:
        self._pending[watched.future] = watched
        try:
            self._inbox.put(partial(self._take_in, watched))
            # One that an interrupt kept from starting is not alive.
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
                self._thread = thread
                # Not `self._thread`: a signal handler may have replaced it.
                thread.start()
        except BaseException as error:
            self._pending.pop(watched.future, None)
            self._wake()
            if isinstance(error, RuntimeError):
                raise PlatformClientError(f"the thread that waits for futures cannot be started: {error}") from error
            raise

    def _forget(self, future: Future[ExecutionRecord]) -> None:
        """Drop a future that is done or was cancelled."""
        watched = self._pending.pop(future, None)
        if watched is None:
            return
        if future.cancelled():
            watched.future.settle()
        self._inbox.put(partial(self._let_go, watched))

    def _wake(self) -> None:
        """Have the thread see whether there is still work."""
        self._inbox.put(lambda: None)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        """Fail the pending futures: this thread cannot go on. The next future starts another one."""
        logger.error("the thread of the futures failed", exc_info=error)
        if self._thread is not threading.current_thread():
            return
        # Without the lock, as in `_has_work`: who enters a future from here on finds no thread and starts one.
        self._agenda, self._thread = Agenda(), None
        for watched in list(self._pending.values()):
            execution_id = watched.future.execution_id
            failure = PlatformClientError(
                f"the thread that waits for futures failed: {error!r}; execution {execution_id} goes on: "
                f"take client.execution({execution_id!r}).future() again",
                execution_id=execution_id,
            )
            failure.__cause__ = error
            self._settle(watched.future, failure)

    def _serve(self) -> None:
        agenda = self._agenda
        self._start_hints()
        while self._has_work():
            self._receive(self._next_due())
            if self._next_due() <= time.monotonic():
                self._take_turn(self._agenda.take(time.monotonic()))
        for watched in agenda.entered():
            self._drop_hints(watched)

    def _has_work(self) -> bool:
        # A thread whose start was interrupted may have been replaced.
        is_ours = self._thread is threading.current_thread()
        # Never waited for: its holder may be a thread whose signal handler waits for a future. It puts something last.
        if not self._lock.acquire(blocking=False):
            return is_ours
        try:
            if is_ours and not self._pending:
                self._thread = None
                self._agenda = Agenda()
            return is_ours and bool(self._pending)
        finally:
            self._lock.release()

    def _next_due(self) -> float:
        return max(self._agenda.next_due(), self._earliest)

    def _receive(self, until: float) -> None:
        """Take in what is new; if nothing is, sleep until then for it."""
        # Emptied first: at a queue that nobody has found empty, Python 3.10 may take a short time-out for none.
        is_idle = not self._take_in_all()
        timeout = min(until - time.monotonic(), threading.TIMEOUT_MAX)
        if is_idle and timeout > 0:
            with suppress(queue.Empty):
                self._inbox.get(timeout=timeout)()

    def _take_in_all(self) -> bool:
        """Take in what is there and return whether anything was."""
        was_there = False
        with suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()()
                was_there = True
        return was_there

    def _take_in(self, watched: Watched) -> None:
        self._agenda.enter(watched)
        self._with_hints(lambda hints: hints.expect(watched.future.execution_id, self.nudge))

    def _let_go(self, watched: Watched) -> None:
        if self._agenda.leave(watched):
            self._drop_hints(watched)

    def _drop_hints(self, watched: Watched) -> None:
        self._with_hints(lambda hints: hints.drop(watched.future.execution_id, self.nudge))

    def _start_hints(self) -> None:
        try:
            self._hints = self._open_hints()
        except BaseException as error:  # noqa: BLE001 - nobody fails for want of hints
            self._end_hints(error)

    def _with_hints(self, ask: Callable[[CompletionHints], object]) -> object:
        """Return what `ask` returns, None without hints. Hints that fail are not asked again by this thread."""
        if self._hints is None:
            return None
        try:
            return ask(self._hints)
        except BaseException as error:  # noqa: BLE001 - as above
            self._end_hints(error)
            return None

    def _end_hints(self, error: BaseException) -> None:
        self._hints = None
        logger.warning("futures are looked at over HTTP alone: hearing of ends over NATS failed: %r", error)

    def _hasten(self, execution_id: str) -> None:
        self._agenda.hasten(execution_id)

    def _take_turn(self, watched: Watched) -> None:
        if self._may_pass_over(watched):
            watched.passed_over += 1
            self._agenda.add(watched, time.monotonic() + watched.watch.within_deadline(watched.watch.pause()))
        else:
            watched.passed_over = 0
            self._earliest = time.monotonic() + 1 / REQUESTS_PER_SECOND
            self._step(watched)

    def _may_pass_over(self, watched: Watched) -> bool:
        """Return whether this look may be left out: it would be heard of if the execution had ended.

        Not the first look, which sees what was said before anybody listened, nor the last.
        """
        is_heard = self._hints_foretell and self._with_hints(lambda hints: hints.live)
        is_ordinary = watched.looks > 0 and not watched.announced and not watched.watch.is_due_last
        return bool(is_heard) and is_ordinary and watched.passed_over < LOOKS_PASSED_OVER

    def _step(self, watched: Watched) -> None:
        watched.looks += 1
        try:
            outcome = watched.watch.step(self._look)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's: a token function may exit
            trim_traceback(error)
            self._settle(watched.future, error)
            return
        if isinstance(outcome, float):
            self._agenda.add(watched, time.monotonic() + outcome)
        else:
            # What the first look shows may have been said before anybody listened.
            if watched.announced or watched.looks > 1:
                self._hints_foretell = watched.announced
            self._settle(watched.future, outcome)

    @staticmethod
    def _settle(future: ExecutionFuture, outcome: ExecutionRecord | BaseException) -> None:
        try:
            future.settle(outcome)
        except BaseException:  # noqa: BLE001 - the other futures must not suffer for it
            logger.exception("a callback of the future of execution %s raised", future.execution_id)
