"""The back-off that the submissions of a batch share."""

import pytest

from flow_client._batch.outage import Outage


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def outage(clock, patience=300.0):
    return Outage(patience, clock, uniform=lambda _low, high: high)


def pauses_of(outage, clock, asked):
    pauses = []
    for seconds in asked:
        pauses.append(outage.note_failure(seconds))
        clock.now += pauses[-1]
        assert outage.due == clock.now
    return pauses


def test_the_pauses_grow_to_eight_seconds_and_begin_anew_after_an_answer():
    clock = Clock()
    down = outage(clock)
    assert pauses_of(down, clock, [None] * 8) == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    down.note_answer()
    assert (down.failures, down.due) == (0, 0.0)
    assert pauses_of(down, clock, [None]) == [0.25]


def test_what_the_platform_asks_for_is_obeyed_up_to_a_minute():
    clock = Clock()
    assert pauses_of(outage(clock), clock, [5, 3600, 0.1]) == [pytest.approx(5.5), pytest.approx(66), 1]


def test_the_last_try_is_made_when_the_patience_ends():
    clock = Clock()
    assert pauses_of(outage(clock, patience=10), clock, [4, 60, None]) == [pytest.approx(4.4), pytest.approx(5.6), 1]
