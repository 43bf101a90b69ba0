"""An event loop in a background thread, for calls that block.

Signal handlers run in the main thread, between any two of its bytecodes. They may raise there, and they may call this
module again. So a caller's thread takes no lock and only does what is a single step in CPython: append to a deque, set
an attribute, hand a callback to the loop, wait at a latch. Threads in which no handler runs do the rest.
"""

from __future__ import annotations

import _thread
import asyncio
import selectors
import threading
from contextlib import suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from flow_client._core.latch import Latch
from flow_client._core.lifecycle import never_finalise, renew_after_fork
from flow_client._core.log import logger
from flow_client.errors import BridgeError, BridgeTimeoutError, ClientClosedError, PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

ResultT = TypeVar("ResultT")

THREAD_NAME = "flow-client-nats"
START_TIMEOUT = 5.0
TICK_INTERVAL = 1.0
"""Seconds between two ticks: an interrupt may have kept a caller from waking the loop."""
_LAST_STEPS = 1.0
_WSGI_HINT = "is this uWSGI without --enable-threads?"
_EXIT_HINT = "the interpreter is exiting, and this Python starts no more threads; use the bridge earlier"


class LoopHooks(Protocol):
    """What the loop's thread calls, in that thread, in the course of its life."""

    def started(self) -> None:
        """Note that the loop is running."""

    def tick(self) -> None:
        """Look for work; called every `TICK_INTERVAL` seconds."""

    async def shut_down(self) -> None:
        """Finish what has to be finished before the loop ends."""

    def ended(self, error: BridgeError | ClientClosedError) -> None:
        """Fail everything that still waits: the loop has ended, because of `error`."""


class LoopThread:
    """A daemon thread with an event loop, started at first use.

    Threads may share it. In a forked child it is not started.

    Args:
        hooks: what it calls.
        start_timeout: seconds that the thread may take to start.
    """

    def __init__(self, hooks: LoopHooks | None = None, start_timeout: float = START_TIMEOUT) -> None:
        self._hooks = hooks
        self._start_timeout = start_timeout
        self._stopped = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._running: _RunningLoop | None = None
        self._launching = threading.Lock()

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread and loop, which do not run here."""
        if self._running is not None:
            self._running.abandon()
        self._begin()

    @property
    def running(self) -> bool:
        """Whether the thread was started and not stopped."""
        return self._running is not None and not self._stopped

    @property
    def ended(self) -> bool:
        """Whether its thread is not running: it has ended, or was never started."""
        return self._running is None or self._running.ended.is_open

    def start(self) -> None:
        """Start the thread unless it is running.

        Raises:
            BridgeError: the thread did not start, or has ended by itself.
            ClientClosedError: the thread was stopped.
        """
        self._started()

    def run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, timeout: float) -> ResultT:
        """Run `function(*args)` in the loop and return its result or raise its exception.

        The coroutine is cancelled when the time is up or the caller is interrupted.

        Args:
            function: a coroutine function.
            args: its arguments.
            timeout: seconds to wait. It does not bound starting the thread, which has its own limit.

        Raises:
            BridgeError: the call came from the loop's own thread, which would wait for itself; or the thread did not
                start, or ended during the call.
            BridgeTimeoutError: there was no result in time.
            ClientClosedError: the thread was stopped, before or during the call.
        """
        running = self._started()
        running.refuse_own_thread()
        call = _Call(partial(function, *args))
        try:
            running.begin(call)
            if not call.over.wait(timeout):
                raise BridgeTimeoutError(f"NATS did not answer within {timeout:g} s")
            return call.result()
        except asyncio.CancelledError as error:
            if self._stopped:
                raise ClientClosedError("the bridge was closed during the call") from error
            raise BridgeError("the connection to NATS was closed during the call") from error
        finally:
            running.leave(call)

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call `callback()` soon, and return at once.

        Raises:
            BridgeError: the thread did not start, or has ended by itself.
            ClientClosedError: the thread was stopped.
        """
        self._started().post(callback)

    def _started(self) -> _RunningLoop:
        if self._stopped:
            raise ClientClosedError("the bridge is closed")
        return self._running or self._start()

    def _start(self) -> _RunningLoop:
        """Let a helper start the thread: an interrupt in the middle of `Thread.start` would leave it half started."""
        launch = _Launch()
        try:
            _thread.start_new_thread(self._launch, (launch,))
        except RuntimeError as error:
            raise _not_started(error) from error
        if not launch.over.wait(self._start_timeout):
            raise BridgeError(f"the background thread did not start within {self._start_timeout:g} s; {_WSGI_HINT}")
        if launch.error is not None:
            raise _not_started(launch.error) from launch.error
        if launch.running is None:
            raise ClientClosedError("the bridge is closed")
        return launch.running

    def _launch(self, launch: _Launch) -> None:
        try:
            with self._launching:  # no signal handler runs in this thread
                if self._running is None and not self._stopped:
                    self._running = _RunningLoop.start(self._hooks)
            launch.running = self._running
            if self._stopped and self._running is not None:  # `stop` was called before there was anything to stop
                self._running.stop()
        except Exception as error:  # noqa: BLE001 - the caller raises it
            launch.error = error
        finally:
            launch.over.open()

    def begin_stop(self) -> None:
        """Begin to cancel all calls, shut down and end the thread. It cannot be started again.

        Raises:
            BridgeError: called from the loop's own thread.
        """
        if self._running is not None:
            self._running.refuse_own_thread()
        self._stopped = True
        if self._running is not None:
            self._running.stop()

    def stop(self, timeout: float) -> bool:
        """Stop the thread and return whether it ended within `timeout` seconds. Can be called twice.

        Raises:
            BridgeError: called from the loop's own thread.
        """
        self.begin_stop()
        return self._running is None or self._running.join(timeout)


class _Launch:
    """One attempt to start the thread, and its outcome."""

    def __init__(self) -> None:
        self.over = Latch()
        self.running: _RunningLoop | None = None
        self.error: Exception | None = None


class _Call(Generic[ResultT]):
    """A coroutine in the loop for which a caller waits. Only the loop's thread changes it.

    Attributes:
        task: the coroutine's task, once it is started.
        over: opens when there is a result or an error.
    """

    def __init__(self, function: Callable[[], Coroutine[Any, Any, ResultT]]) -> None:
        self._function = function
        self._result: ResultT | None = None
        self._error: BaseException | None = None
        self.task: asyncio.Task[ResultT] | None = None
        self.over = Latch()

    def begin(self) -> asyncio.Task[ResultT]:
        """Start the coroutine."""
        self.task = asyncio.get_running_loop().create_task(self._function())
        self.task.add_done_callback(self._finish)
        return self.task

    def _finish(self, task: asyncio.Task[ResultT]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)
        elif not self.over.is_open:
            self._result = task.result()
            self.over.open()

    def fail(self, error: BaseException) -> None:
        """Let the caller raise `error`."""
        if not self.over.is_open:
            self._error = error
            self.over.open()

    def cancel(self) -> None:
        """Cancel the coroutine, or never start it."""
        if self.task is not None:
            self.task.cancel()
        self.fail(asyncio.CancelledError())

    def result(self) -> ResultT:
        """Return the coroutine's result or raise its error."""
        if self._error is not None:
            raise self._error
        return cast("ResultT", self._result)


class _RunningLoop:
    """A loop and its thread, made together: a loop made before gevent patches and started afterwards would freeze."""

    def __init__(self, hooks: LoopHooks | None) -> None:
        self._hooks = hooks
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._calls: set[_Call[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._end: BridgeError | ClientClosedError | None = None
        self._ready = Latch()
        self.ended = Latch()
        self._thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)

    @classmethod
    def start(cls, hooks: LoopHooks | None) -> _RunningLoop:
        """Start the thread and return when its loop is running."""
        running = cls(hooks)
        try:
            running._thread.start()
        except RuntimeError:
            running._loop.close()
            raise
        running._ready.wait(None)
        return running

    def _serve(self) -> None:
        try:
            self._run_until_stopped()
            self._loop.run_until_complete(self._finish())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._tell_end(ClientClosedError("the bridge is closed"))
            self._loop.close()
            self.ended.open()

    def _run_until_stopped(self) -> None:
        self._loop.call_soon(self._begin)
        try:
            self._loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - whatever ended the loop, those who wait are told
            logger.error("the bridge's background thread ended", exc_info=error)
            self._tell_end(BridgeError(f"the bridge's background thread has ended ({error!r}); open a new bridge"))

    def _begin(self) -> None:
        if self._hooks is not None:
            self._hooks.started()
        self._ready.open()
        self._tick()

    def _tick(self) -> None:
        if self._hooks is not None:
            self._hooks.tick()
        self._loop.call_later(TICK_INTERVAL, self._tick)

    async def _finish(self) -> None:
        self._stopping = True
        await _cancel(self._tasks)
        if self._hooks is not None:
            await self._hooks.shut_down()
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})

    def _tell_end(self, error: BridgeError | ClientClosedError) -> None:
        """Fail everything that waits, and every call from now on."""
        self._end = self._end or error
        self._ready.open()
        for call in list(self._calls):
            call.fail(self._ending())
        if self._hooks is not None:
            self._hooks.ended(self._end)

    def begin(self, call: _Call[Any]) -> None:
        """Start the call; it is over when its coroutine is, or when the thread ends."""
        self._calls.add(call)
        self.post(partial(self._begin_call, call))

    def _begin_call(self, call: _Call[Any]) -> None:
        if self._stopping:
            call.cancel()
        elif not call.over.is_open:
            task = call.begin()
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def leave(self, call: _Call[Any]) -> None:
        """Stop waiting for the call; cancel it if it is not over."""
        self._calls.discard(call)
        if not call.over.is_open:
            with suppress(PlatformClientError):  # then it is over with the thread
                self.post(call.cancel)

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call `callback()`; if the thread has ended, raise the reason.

        If the thread ends right now, the callback may be lost. Whoever waits for it is told nevertheless: `_tell_end`
        notes the end before it fails what waits.
        """
        # Not asked afterwards: the end may be the callback's own doing.
        if self._end is not None:
            raise self._ending()
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError as error:  # it is closed
            raise self._ending() from error

    def _ending(self) -> BridgeError | ClientClosedError:
        """Return a new error each time: every thread that raises it has its own traceback."""
        return copy(self._end or ClientClosedError("the bridge is closed"))

    def refuse_own_thread(self) -> None:
        """Raise `BridgeError` in the loop's thread."""
        if threading.current_thread() is self._thread:
            raise BridgeError("a blocking call from the bridge's own thread would wait for itself")

    def stop(self) -> None:
        """Have the thread end."""
        with suppress(PlatformClientError):  # it has ended
            self.post(self._stop)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._loop.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end and return whether it did in time."""
        if not self.ended.wait(timeout):
            return False
        self._thread.join(_LAST_STEPS)
        return True

    def abandon(self) -> None:
        """Leave the thread to the parent process."""
        never_finalise((self, dict(self._selector.get_map() or {})))
        # Parent and child share one epoll: to unregister a socket here would unregister the parent's.
        self._selector.close()


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)


def _not_started(error: Exception) -> BridgeError:
    hint = _EXIT_HINT if "interpreter shutdown" in str(error) else _WSGI_HINT
    return BridgeError(f"the background thread cannot be started ({error}); {hint}")
