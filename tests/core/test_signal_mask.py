"""Our threads leave Ctrl-C and alarms to the main thread, and it keeps them."""

import signal
import subprocess
import sys
import threading

import pytest

from flow_client._core.signal_mask import as_usual, leave_to_main_thread

LEFT = {signal.SIGINT, signal.SIGALRM}

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import signal, threading
from flow_client._core.signal_mask import as_usual, leave_to_main_thread

def poll():
    leave_to_main_thread()
    with as_usual():
        pass

thread = threading.Thread(target=poll)
thread.start()
thread.join()
print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, []) & LEFT


@pytest.fixture
def in_thread():
    """Calls a function in a thread of its own and returns what it returns."""

    def call(function):
        results = []
        thread = threading.Thread(target=lambda: results.append(function()))
        thread.start()
        thread.join()
        return results[0]

    return call


def test_a_thread_leaves_them_but_for_the_callers_code(in_thread):
    def poll():
        leave_to_main_thread()
        before = blocked()
        with as_usual():
            amid = blocked()
        return before, amid, blocked()

    assert in_thread(poll) == (LEFT, set(), LEFT)


def test_a_thread_that_left_nothing_is_as_it_was(in_thread):
    def poll():
        with as_usual():
            pass
        return blocked()

    assert in_thread(poll) == set()


def test_the_main_thread_keeps_them():
    leave_to_main_thread()
    with as_usual():
        pass
    assert blocked() == set()


def test_greenlets_that_stand_for_threads_keep_them():
    """They run in the main thread: if it left the signals to others, Ctrl-C would never land."""
    program = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=60, check=True)
    assert program.stdout == "[]\n"
