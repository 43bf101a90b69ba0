"""The event loop in a background thread."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from flow_client import BridgeError, BridgeTimeoutError, ClientClosedError
from flow_client._nats.loop import THREAD_NAME, LoopThread


@pytest.fixture
def loop_thread():
    thread = LoopThread()
    yield thread
    thread.stop(30)


async def _double(number):
    await asyncio.sleep(0)
    return 2 * number


async def _sleep(seconds, cancelled, begun=None):
    if begun is not None:
        begun.set()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cancelled.set()
        raise


async def _raise(error):
    raise error


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_the_thread_starts_at_the_first_run(loop_thread):
    assert not loop_thread.running
    assert not _threads()
    assert loop_thread.run(_double, 21, timeout=30) == 42
    assert loop_thread.running
    assert [thread.daemon for thread in _threads()] == [True]


def test_many_threads_share_one(loop_thread):
    results = []
    callers = [
        threading.Thread(target=lambda n=n: results.append(loop_thread.run(_double, n, timeout=30))) for n in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(results) == [2 * n for n in range(20)]
    assert len(_threads()) == 1


def test_an_exception_comes_out_as_it_is(loop_thread):
    with pytest.raises(KeyError, match="k"):
        loop_thread.run(_raise, KeyError("k"), timeout=30)


def test_a_time_out_of_the_coroutine_is_not_one_of_the_wait(loop_thread):
    with pytest.raises(asyncio.TimeoutError, match="its own") as caught:
        loop_thread.run(_raise, asyncio.TimeoutError("its own"), timeout=30)
    assert not isinstance(caught.value, BridgeTimeoutError)


def test_a_call_that_takes_too_long_is_cancelled(loop_thread):
    cancelled = threading.Event()
    with pytest.raises(BridgeTimeoutError):
        loop_thread.run(_sleep, 60, cancelled, timeout=0.05)
    assert cancelled.wait(30)


def test_an_interrupted_call_is_cancelled(loop_thread):
    cancelled = threading.Event()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop_thread.run(_sleep, 60, cancelled, timeout=60)
    assert time.monotonic() - started < 30
    assert cancelled.wait(30)


def test_a_call_from_its_own_thread_is_refused(loop_thread):
    async def call_again():
        return loop_thread.run(_double, 1, timeout=30)

    with pytest.raises(BridgeError, match="own thread"):
        loop_thread.run(call_again, timeout=30)


def test_a_stop_from_its_own_thread_is_refused(loop_thread):
    async def stop():
        loop_thread.stop(30)

    with pytest.raises(BridgeError, match="own thread"):
        loop_thread.run(stop, timeout=30)
    assert loop_thread.run(_double, 1, timeout=30) == 2


def test_stop_leaves_no_thread_and_can_be_called_twice(loop_thread):
    loop_thread.run(_double, 1, timeout=30)
    assert loop_thread.stop(30)
    assert loop_thread.stop(30)
    assert not _threads()
    with pytest.raises(ClientClosedError):
        loop_thread.run(_double, 1, timeout=30)


def test_stop_ends_the_calls_of_other_threads(loop_thread):
    begun, cancelled = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(loop_thread.run, _sleep, 60, cancelled, begun, timeout=60)
        assert begun.wait(30)
        assert loop_thread.stop(30)
        with pytest.raises(ClientClosedError):
            call.result(30)
    assert cancelled.is_set()


def test_stop_says_when_the_thread_does_not_end():
    loop_thread = LoopThread()
    blocking, release = threading.Event(), threading.Event()
    loop_thread.post(lambda: (blocking.set(), release.wait()))
    try:
        assert blocking.wait(30)
        assert not loop_thread.stop(0.05)
    finally:
        release.set()
        assert loop_thread.stop(30)


def test_a_forked_child_has_a_loop_of_its_own(loop_thread):
    loop_thread.run(_double, 1, timeout=30)
    child = os.fork()
    if child == 0:
        unstarted = not loop_thread.running
        os._exit(0 if unstarted and loop_thread.run(_double, 21, timeout=30) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loop_thread.run(_double, 21, timeout=30) == 42


def test_a_fork_while_another_thread_starts_the_loop_does_not_block_the_child(loop_thread):
    with loop_thread._launching:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(0 if loop_thread.run(_double, 21, timeout=30) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class _Hooks:
    """Notes what it is told."""

    def __init__(self):
        self.ticks, self.errors = [], []

    def started(self):
        pass

    def tick(self):
        self.ticks.append(1)

    async def shut_down(self):
        pass

    def ended(self, error):
        self.errors.append(error)


async def _exit():
    raise SystemExit("from the loop")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_dies_fails_what_waits_and_what_comes():
    hooks = _Hooks()
    loop_thread = LoopThread(hooks)
    errors = []

    def call():
        try:
            loop_thread.run(_sleep, 60, threading.Event(), timeout=60)
        except BridgeError as error:
            errors.append(error)

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    with pytest.raises(BridgeError, match="from the loop"):
        loop_thread.run(_exit, timeout=60)
    for caller in callers:
        caller.join(30)
    assert len(errors) == 5
    with pytest.raises(BridgeError, match="from the loop"):
        loop_thread.post(lambda: None)
    with pytest.raises(BridgeError, match="from the loop"):
        loop_thread.run(_double, 1, timeout=30)
    assert "from the loop" in str(hooks.errors[0])
    assert loop_thread.stop(30)
    assert not _threads()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_ends_the_loop_fails_only_what_comes_after_it():
    def end_loop():
        raise SystemExit("from the loop")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the loop runs at once, in the middle of `post`
    try:
        for _ in range(50):
            loop_thread = LoopThread()
            loop_thread.start()
            loop_thread.post(end_loop)
            assert loop_thread.stop(30)
    finally:
        sys.setswitchinterval(before)


def test_a_call_that_meets_the_end_of_the_loop_is_answered(loop_thread):
    """Callers that come while it stops, over and over: each has a result or an error, and none waits for ever."""
    outcomes = []

    def call_until_refused(loop_thread):
        with suppress(ClientClosedError):
            while True:
                outcomes.append(loop_thread.run(_double, 1, timeout=30))

    for _ in range(30):
        loop_thread = LoopThread()
        callers = [threading.Thread(target=call_until_refused, args=(loop_thread,)) for _ in range(3)]
        for caller in callers:
            caller.start()
        assert loop_thread.stop(30)
        for caller in callers:
            caller.join(30)
        assert not any(caller.is_alive() for caller in callers)
    assert set(outcomes) <= {2}


def test_a_signal_handler_may_call_and_post_amid_a_call(loop_thread):
    answers = []

    def handle(*_):
        loop_thread.post(lambda: answers.append("posted"))
        answers.append(loop_thread.run(_double, 4, timeout=30))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for number in range(300):
            assert loop_thread.run(_double, number, timeout=30) == 2 * number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert 8 in answers


# An interrupt that hits the callback of a weak reference is lost: Python only tells of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_while_the_thread_starts_leave_one_that_works():
    handled = threading.Event()

    def interrupt(*_):
        handled.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupts = 0
    try:
        for number in range(200):
            loop_thread = LoopThread()
            handled.clear()
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00001 + number * 0.000005)
                loop_thread.run(_double, 1, timeout=30)
                left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
                # Beside other threads Python may call the handler some time after the signal has come.
                while not left and not handled.is_set():
                    time.sleep(0.001)
            except KeyboardInterrupt:
                interrupts += 1
            assert loop_thread.run(_double, 21, timeout=30) == 42
            assert loop_thread.stop(30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts
    assert not _threads()


def test_the_hooks_are_called_unasked():
    hooks, ticked_twice = _Hooks(), threading.Event()
    hooks.tick = lambda: (hooks.ticks.append(1), len(hooks.ticks) >= 2 and ticked_twice.set())
    loop_thread = LoopThread(hooks)
    loop_thread.start()
    assert ticked_twice.wait(30)
    assert loop_thread.stop(30)
    assert hooks.errors


_WITHOUT_THREADS = """
import resource
from flow_client import BridgeError
from flow_client._nats.loop import LoopThread

async def nothing():
    pass

resource.setrlimit(resource.RLIMIT_AS, (0, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    LoopThread().run(nothing, timeout=30)
except BridgeError as error:
    assert "--enable-threads" in str(error), error
    print("refused")
"""


def test_a_process_that_cannot_start_threads_is_told_so():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THREADS], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
