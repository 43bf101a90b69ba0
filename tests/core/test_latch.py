import _thread
import threading

import pytest

from flow_client._core.latch import Latch


def test_a_wait_sees_an_interrupt_that_no_system_call_was_woken_by():
    """`interrupt_main` wakes nobody, like a signal right before the call, and like every signal on Windows."""
    latch = Latch()
    timers = [threading.Timer(0.1, _thread.interrupt_main), threading.Timer(30, latch.open)]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        latch.wait(None)
    for timer in timers:
        timer.cancel()
    assert not latch.is_open


def test_a_wait_ends_when_its_time_is_over_or_the_latch_opens():
    latch = Latch()
    assert not latch.wait(0)
    assert not latch.wait(0.01)
    threading.Timer(0.05, latch.open).start()
    assert latch.wait(None)
    assert latch.wait(0)


def test_a_wait_for_what_is_settled_ends_although_nobody_opens_the_latch():
    latch = Latch()
    settled = threading.Event()
    threading.Timer(0.05, settled.set).start()
    assert not latch.wait(60, settled.is_set)
    assert settled.is_set()
