"""Stopping what runs in the main thread, with the process's own timer given back."""

import os
import signal
import subprocess
import sys
import time

import pytest

from flow_client.worker._interrupts import Interrupted, Interrupts


@pytest.fixture
def alarms():
    """The alarms that the process's own handler got."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    yield rung
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _stopped_within(grace_seconds, stop):
    with stop.interruptible(grace_seconds):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)


def test_an_interrupt_borrows_the_timer_and_gives_it_back(alarms):
    signal.setitimer(signal.ITIMER_REAL, 100, 50)
    handler = signal.getsignal(signal.SIGALRM)
    stop = Interrupts()
    with stop.handled():
        with pytest.raises(Interrupted):
            _stopped_within(0.05, stop)
        assert signal.getsignal(signal.SIGALRM) == handler
    due, interval = signal.getitimer(signal.ITIMER_REAL)
    assert (90 < due < 100, interval) == (True, 50)
    assert alarms == []


def test_a_timer_that_ran_out_meanwhile_goes_off_afterwards(alarms):
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    stop = Interrupts()
    with stop.handled(), pytest.raises(Interrupted):
        _stopped_within(0.2, stop)
    deadline = time.monotonic() + 10
    while not alarms and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(alarms) == 1


def test_a_request_before_the_block_counts(alarms):
    stop = Interrupts()
    with stop.handled():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(Interrupted), stop.interruptible(0.05):
            time.sleep(30)


def test_without_a_timer_sigterm_is_a_wish():
    code = """
import os, signal
for name in ("SIGALRM", "setitimer", "getitimer", "alarm", "ITIMER_REAL"):
    delattr(signal, name)
for name in [name for name in dir(os) if name.startswith("EX_")]:
    delattr(os, name)
from flow_client import worker
from flow_client.worker._interrupts import Interrupts
stop = Interrupts()
with stop.handled(), stop.interruptible(0.01):
    os.kill(os.getpid(), signal.SIGTERM)
print(stop.requested, worker.EXIT_USAGE, worker.EXIT_NOT_STORED)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.stdout, done.stderr) == ("True 64 74\n", "")
