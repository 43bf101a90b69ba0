"""The event loop in a background thread."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from flow_client import BridgeError, BridgeTimeoutError, ClientClosedError
from flow_client._loop import THREAD_NAME, LoopThread


@pytest.fixture
def loop_thread():
    thread = LoopThread()
    yield thread
    thread.stop(5)


async def _double(number):
    await asyncio.sleep(0)
    return 2 * number


async def _sleep(seconds, cancelled):
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
    assert loop_thread.run(_double, 21, timeout=5) == 42
    assert loop_thread.running
    assert [thread.daemon for thread in _threads()] == [True]


def test_many_threads_share_one(loop_thread):
    results = []
    callers = [
        threading.Thread(target=lambda n=n: results.append(loop_thread.run(_double, n, timeout=5))) for n in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(results) == [2 * n for n in range(20)]
    assert len(_threads()) == 1


def test_an_exception_comes_out_as_it_is(loop_thread):
    with pytest.raises(KeyError, match="k"):
        loop_thread.run(_raise, KeyError("k"), timeout=5)


def test_a_time_out_of_the_coroutine_is_not_one_of_the_wait(loop_thread):
    with pytest.raises(asyncio.TimeoutError, match="its own") as caught:
        loop_thread.run(_raise, asyncio.TimeoutError("its own"), timeout=5)
    assert not isinstance(caught.value, BridgeTimeoutError)


def test_a_call_that_takes_too_long_is_cancelled(loop_thread):
    cancelled = threading.Event()
    with pytest.raises(BridgeTimeoutError):
        loop_thread.run(_sleep, 60, cancelled, timeout=0.05)
    assert cancelled.wait(5)


def test_an_interrupted_call_is_cancelled(loop_thread):
    cancelled = threading.Event()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop_thread.run(_sleep, 60, cancelled, timeout=60)
    assert time.monotonic() - started < 5
    assert cancelled.wait(5)


def test_a_call_from_its_own_thread_is_refused(loop_thread):
    async def call_again():
        return loop_thread.run(_double, 1, timeout=5)

    with pytest.raises(BridgeError, match="own thread"):
        loop_thread.run(call_again, timeout=5)


def test_a_stop_from_its_own_thread_is_refused(loop_thread):
    async def stop():
        loop_thread.stop(5)

    with pytest.raises(BridgeError, match="own thread"):
        loop_thread.run(stop, timeout=5)
    assert loop_thread.run(_double, 1, timeout=5) == 2


def test_stop_leaves_no_thread_and_can_be_called_twice(loop_thread):
    loop_thread.run(_double, 1, timeout=5)
    assert loop_thread.stop(5)
    assert loop_thread.stop(5)
    assert not _threads()
    with pytest.raises(ClientClosedError):
        loop_thread.run(_double, 1, timeout=5)


def test_stop_ends_the_calls_of_other_threads(loop_thread):
    errors, cancelled = [], threading.Event()

    def call():
        try:
            loop_thread.run(_sleep, 60, cancelled, timeout=60)
        except ClientClosedError as exc:
            errors.append(exc)

    caller = threading.Thread(target=call)
    caller.start()
    while not loop_thread.running:
        time.sleep(0.01)
    loop_thread.run(_double, 1, timeout=5)
    assert loop_thread.stop(5)
    caller.join(5)
    assert len(errors) == 1
    assert cancelled.is_set()


def test_stop_says_when_the_thread_does_not_end():
    loop_thread = LoopThread()
    release = threading.Event()

    async def block():
        release.wait()

    caller = threading.Thread(target=loop_thread.run, args=(block,), kwargs={"timeout": 60})
    loop_thread.run(_double, 1, timeout=5)
    caller.start()
    time.sleep(0.1)
    assert not loop_thread.stop(0.05)
    release.set()
    caller.join(5)


def test_a_forked_child_has_a_loop_of_its_own(loop_thread):
    loop_thread.run(_double, 1, timeout=5)
    child = os.fork()
    if child == 0:
        unstarted = not loop_thread.running
        os._exit(0 if unstarted and loop_thread.run(_double, 21, timeout=5) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loop_thread.run(_double, 21, timeout=5) == 42


def test_a_fork_while_another_thread_holds_the_lock_does_not_block_the_child(loop_thread):
    with loop_thread._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(0 if loop_thread.run(_double, 21, timeout=5) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


_WITHOUT_THREADS = """
import resource
from flow_client import BridgeError
from flow_client._loop import LoopThread

async def nothing():
    pass

resource.setrlimit(resource.RLIMIT_AS, (0, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    LoopThread().run(nothing, timeout=5)
except BridgeError as exc:
    assert "--enable-threads" in str(exc), exc
    print("refused")
"""


def test_a_process_that_cannot_start_threads_is_told_so():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THREADS], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
