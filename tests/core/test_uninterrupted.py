"""Imports and models are complete, whatever signal handlers and forks do while they are made."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from flow_client._core import uninterrupted as module
from flow_client._core.uninterrupted import uninterrupted

# A client whose first call is broken off at a random moment in the loading of the models; its next call succeeds.
BROKEN_OFF = """
import signal, sys
from flow_client import PlatformClient

class Limit(Exception):
    pass

def handle(*_):
    raise Limit

signal.signal(signal.SIGALRM, handle)
client = PlatformClient(sys.argv[1], "t", "o", "w", ring_id="r")
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
try:
    client.get_execution_status("e-1")
    client.submit_workflow_execution("wf-1", {})
except Limit:
    pass
signal.setitimer(signal.ITIMER_REAL, 0)
assert client.get_execution_status("e-1").is_completed
assert client.submit_workflow_execution("wf-1", {}).execution_id == "e-1"
"""

# A handler that makes a call in the middle of another one's first use of the models.
NESTED = """
import signal, sys
from flow_client import PlatformClient
found = []
signal.signal(signal.SIGALRM, lambda *_: found.append(client.get_execution_status("e-1").status))
client = PlatformClient(sys.argv[1], "t", "o", "w")
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
assert client.get_execution_status("e-1").is_completed
while not found:
    signal.pause()
assert found == ["completed"]
"""

MOMENTS = [0.002, 0.015, 0.04]


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_call_that_is_broken_off_leaves_a_client_that_works(http_server, moment):
    run(BROKEN_OFF, http_server.url, moment)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_handler_can_call_during_the_first_call(http_server, moment):
    run(NESTED, http_server.url, moment)


class LimitError(Exception):
    """What a signal handler raises."""


def test_what_is_broken_off_is_completed_all_the_same():
    def work():
        signal.raise_signal(signal.SIGALRM)
        time.sleep(0.1)
        done.set()

    def handle(*_):
        raise LimitError

    done = threading.Event()
    before = signal.signal(signal.SIGALRM, handle)
    try:
        with pytest.raises(LimitError):
            uninterrupted(work)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done.wait(60)


def test_what_it_raises_is_raised_to_the_caller():
    with pytest.raises(ZeroDivisionError):
        uninterrupted(lambda: 1 / 0)


def test_a_fork_waits_for_the_work():
    begun, finished = threading.Event(), threading.Event()

    def work():
        begun.set()
        time.sleep(0.2)
        finished.set()

    thread = threading.Thread(target=uninterrupted, args=(work,))
    thread.start()
    assert begun.wait(60)
    child = os.fork()
    if child == 0:
        free = module._at_work.acquire(blocking=False)
        os._exit(0 if finished.is_set() and free else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_in_the_middle_of_an_import_the_work_is_done_there(tmp_path, monkeypatch):
    """Another thread could wait for the very module that is being imported."""
    (tmp_path / "calls_at_import.py").write_text(
        "import threading\n"
        "from flow_client._core.uninterrupted import uninterrupted\n"
        "worked_in = uninterrupted(threading.current_thread)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import calls_at_import  # noqa: PLC0415

    assert calls_at_import.worked_in is threading.current_thread()
