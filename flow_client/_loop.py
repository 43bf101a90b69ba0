"""An event loop in a background thread, for calls that block."""

from __future__ import annotations

import asyncio
import selectors
import threading
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

from flow_client._fork import never_finalise, renew_after_fork
from flow_client.errors import BridgeError, BridgeTimeoutError, ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Future

ResultT = TypeVar("ResultT")

THREAD_NAME = "flow-client-nats"
START_TIMEOUT = 5.0
_WSGI_HINT = "is this uWSGI without --enable-threads?"


class LoopThread:
    """One daemon thread with one event loop, started at the first `run`.

    Threads may share it. A forked child finds it unstarted.

    Args:
        start_timeout: seconds that the thread may take to come up.
    """

    def __init__(self, start_timeout: float = START_TIMEOUT) -> None:
        self._start_timeout = start_timeout
        self._stopped = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._serving: _Serving | None = None

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread and loop, which do not run here."""
        if self._serving is not None:
            self._serving.abandon()
        self._begin()

    @property
    def running(self) -> bool:
        """Whether the thread was started and not stopped."""
        return self._serving is not None

    def run(self, function: Callable[..., Coroutine[Any, Any, ResultT]], *args: Any, timeout: float) -> ResultT:
        """Run `function(*args)` in the loop and return its result or raise its exception.

        The coroutine is cancelled when the time is over or the caller is interrupted.

        Args:
            function: a coroutine function.
            args: what it is called with.
            timeout: seconds to wait; it does not bound the thread's start, which has a limit of its own.

        Raises:
            BridgeError: called from the loop's own thread, which would wait for itself, or the thread did not start.
            BridgeTimeoutError: no result in time.
            ClientClosedError: the thread was stopped, before or meanwhile.
        """
        future = self._submit(function, args)
        try:
            return future.result(timeout)
        except FutureTimeoutError as exc:
            if future.done():  # the coroutine's own
                raise
            raise BridgeTimeoutError(f"NATS did not answer within {timeout:g} s") from exc
        except CancelledError as exc:
            if self._stopped:
                raise ClientClosedError("the bridge was closed during the call") from exc
            raise BridgeError("the connection to NATS was closed during the call") from exc
        finally:
            future.cancel()

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call `callback()` soon, and return at once.

        Raises:
            BridgeError: the thread did not start.
            ClientClosedError: the thread was stopped.
        """
        with self._lock:
            self._started().loop.call_soon_threadsafe(callback)

    def keep(self, coroutine: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        """Run a coroutine for as long as the thread does; called in the loop, which holds its tasks weakly itself."""
        task = asyncio.get_running_loop().create_task(coroutine)
        if self._serving is not None:
            self._serving.keep(task)
        return task

    def _submit(self, function: Callable[..., Coroutine[Any, Any, ResultT]], args: tuple[Any, ...]) -> Future[ResultT]:
        # Under the lock nothing is submitted behind the stop: it would never be answered.
        with self._lock:
            serving = self._started()
            serving.refuse_own_thread()
            return serving.submit(function(*args))

    def _started(self) -> _Serving:
        if self._stopped:
            raise ClientClosedError("the bridge is closed")
        if self._serving is None:
            self._serving = _Serving.start(self._start_timeout)
        return self._serving

    def stop(self, timeout: float, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> bool:
        """Cancel the calls, then run `last`, then end the thread; it cannot be started again. Can be called twice.

        Args:
            timeout: seconds to wait for the thread's end.
            last: what remains to be done in the loop; it does not run if the thread was never started.

        Returns:
            Whether the thread has ended.

        Raises:
            BridgeError: called from the loop's own thread.
        """
        with self._lock:
            if self._serving is not None:
                self._serving.refuse_own_thread()
            self._stopped = True
            serving, self._serving = self._serving, None
        return serving is None or serving.stop(timeout, last)


class _Serving:
    """A loop and the thread that runs it, made together: a loop from before gevent's patching would freeze."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._calls: set[asyncio.Task[Any]] = set()
        self._kept: set[asyncio.Task[Any]] = set()
        self._last: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=THREAD_NAME, daemon=True)

    @classmethod
    def start(cls, timeout: float) -> _Serving:
        serving = cls()
        try:
            serving._thread.start()
        except RuntimeError as exc:
            serving.loop.close()
            raise BridgeError(f"the background thread cannot be started ({exc}); {_WSGI_HINT}") from exc
        if not serving._ready.wait(timeout):
            serving.loop.call_soon_threadsafe(serving.loop.stop)
            raise BridgeError(f"the background thread did not come up within {timeout:g} s; {_WSGI_HINT}")
        return serving

    def _serve(self) -> None:
        self.loop.call_soon(self._ready.set)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._finish())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()

    async def _finish(self) -> None:
        await _cancel(self._calls)
        if self._last is not None:
            await self._last()
        await _cancel(asyncio.all_tasks() - {asyncio.current_task()})

    def submit(self, coroutine: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        return asyncio.run_coroutine_threadsafe(self._call(coroutine), self.loop)

    async def _call(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        task = asyncio.current_task()
        if task is not None:
            self._calls.add(task)
            task.add_done_callback(self._called)
        return await coroutine

    def _called(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        # A caller that gave up takes no exception, which asyncio would print.
        if not task.cancelled():
            task.exception()

    def keep(self, task: asyncio.Task[Any]) -> None:
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise BridgeError("a blocking call from the bridge's own thread would wait for itself")

    def stop(self, timeout: float, last: Callable[[], Coroutine[Any, Any, None]] | None) -> bool:
        self._last = last
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        never_finalise((self, dict(self._selector.get_map())))
        # Parent and child share one epoll: to unregister a socket here would unregister the parent's.
        self._selector.close()


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)
