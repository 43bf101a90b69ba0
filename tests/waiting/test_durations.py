"""What is learnt of a component's durations, and when its executions are worth a poll."""

import math
import random

import pytest

from flow_client._waiting.durations import ENOUGH, MOST_COMPONENTS, ComponentDurations, Durations
from flow_client._waiting.learned_schedule import LearnedSchedule
from flow_client._waiting.polling import PollSchedule


def same(low, high):
    return (low + high) / 2


def learned(sample, *, gap=0.05, count=400):
    """Return the durations of executions that were polled every so many seconds."""
    durations, numbers = Durations(), random.Random(1)
    for _ in range(count):
        seconds, age = sample(numbers), 0.0
        while age + gap < seconds:
            durations.note_running(age, age + gap)
            age += gap
        durations.note_end(age, age + gap)
    return durations


def test_with_nothing_known_the_pauses_are_those_of_any_wait():
    schedule = LearnedSchedule(Durations(), PollSchedule())
    for elapsed in (0.0, 1.0, 100.0, 10_000.0):
        assert schedule.pause(elapsed, same) == pytest.approx(PollSchedule().pause(elapsed, same))
    assert schedule.likely_after(5) == math.inf


def test_too_few_ends_say_nothing():
    durations = learned(lambda _: 60.0, gap=1, count=ENOUGH - 1)
    assert not durations.is_known


def test_executions_that_take_a_minute_are_hardly_polled_before_and_often_after():
    schedule = LearnedSchedule(learned(lambda numbers: numbers.uniform(55, 65), gap=1), PollSchedule())
    assert schedule.likely_after(10) > 40
    assert schedule.pause(61, same) < 2
    assert schedule.likely_after(61) < 6


def test_where_none_has_ended_yet_a_poll_comes_now_and_then_all_the_same():
    """Otherwise nobody would notice that the executions have become shorter."""
    schedule = LearnedSchedule(learned(lambda _: 60.0, gap=1), PollSchedule())
    age, polls = 0.0, 0
    while age < 50:
        age += schedule.pause(age, same)
        polls += 1
    assert 5 <= polls <= 15


def test_those_that_still_run_count_too():
    """The short ones end first: alone they would make all seem short."""
    durations = Durations()
    for _ in range(ENOUGH):
        durations.note_end(0.9, 1.0)
        durations.note_running(0.0, 30.0)
    assert durations.seconds_until(0.7, 2.0) > 1.0


def test_what_was_long_ago_is_outweighed():
    durations = learned(lambda _: 60.0, gap=5, count=2000)
    for _ in range(3000):
        durations.note_end(4.5, 5.0)
    assert LearnedSchedule(durations, PollSchedule()).likely_after(4.0) < 2


def test_an_execution_of_a_year_is_as_good_as_any_other():
    durations = Durations()
    for _ in range(ENOUGH):
        durations.note_end(3.1e7, 3.2e7)
    schedule = LearnedSchedule(durations, PollSchedule())
    assert 0 < schedule.pause(3.2e7, same) <= 60
    assert 0 < schedule.urgent_after(3.2e7) <= 120


def test_silence_of_hints_that_were_right_makes_polls_rare_but_not_infinitely():
    schedule = LearnedSchedule(Durations(), PollSchedule(), lambda: 0.1)
    assert schedule.pause(10, same) == pytest.approx(12, rel=0.01)
    assert schedule.urgent_after(10) == 120


def test_the_components_known_are_bounded():
    known = ComponentDurations()
    first = known.of("first")
    assert known.of("first") is first
    for number in range(2 * MOST_COMPONENTS):
        known.of(str(number))
    assert known.of("first") is not first
