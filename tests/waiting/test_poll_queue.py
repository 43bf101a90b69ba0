"""Which execution is polled next."""

import math

import pytest

from flow_client._core.deadline import Deadline
from flow_client._waiting.durations import ENOUGH, Durations
from flow_client._waiting.execution_future import ExecutionFuture
from flow_client._waiting.learned_schedule import LearnedSchedule
from flow_client._waiting.pace import Pace
from flow_client._waiting.pending_poll import PendingPoll
from flow_client._waiting.poll_queue import PollQueue
from flow_client._waiting.polling import PollSchedule, Watch

NOW = 100.0
NEVER = 10_000.0


def pending(execution_id, polled_at, durations=None):
    schedule = LearnedSchedule(durations or Durations(), PollSchedule())
    watch = Watch(execution_id, Deadline(math.inf), schedule)
    return PendingPoll(ExecutionFuture(execution_id), watch, schedule, polled_at=polled_at)


@pytest.fixture
def polls():
    return PollQueue()


def added(polls, *entries, urgent=NEVER):
    """Add executions, each given with the time of its last and that of its next poll, and return their entries."""
    waiting = [(pending(execution_id, polled_at), due) for execution_id, polled_at, due in entries]
    for entry, due in waiting:
        polls.add(entry, due, urgent)
    return [entry for entry, _ in waiting]


def popped(polls, times):
    return [polls.pop(NOW).execution_id for _ in range(times)]


def next_at(polls, now=NOW):
    return polls.next_at(Pace(1000, lambda: now))


def test_of_those_that_are_due_the_one_polled_longest_ago_comes_first(polls):
    added(polls, ("a", 3, 50), ("b", 1, 60), ("c", 2, 40), ("later", 0, NOW + 1))
    assert next_at(polls) == 40
    assert popped(polls, 3) == ["b", "c", "a"]
    assert next_at(polls) == NOW + 1


def test_a_changed_time_counts_and_the_former_does_not(polls):
    (first, _) = added(polls, ("a", 1, 50), ("b", 2, 50))
    polls.schedule(first, NOW + 5, NEVER)
    assert popped(polls, 1) == ["b"]
    assert next_at(polls) == NOW + 5


def test_those_with_a_hint_come_first_in_the_order_of_hints_and_once(polls):
    added(polls, ("a", 1, 10), ("b", 2, 10), ("c", 3, NOW + 50))
    for execution_id in ("c", "b", "c", "unknown"):
        polls.hint(execution_id)
    assert next_at(polls) < NOW
    assert popped(polls, 3) == ["c", "b", "a"]
    assert next_at(polls) == math.inf


def test_those_that_have_probably_ended_come_before_those_of_which_nothing_is_known(polls):
    durations = Durations()
    for _ in range(ENOUGH):
        durations.note_end(9.5, 10.0)
    added(polls, ("unknown", 0, 50))
    likely = pending("likely", NOW - 20, durations)
    likely.age = 9.0
    polls.add(likely, NOW - 10, NOW - 10)
    assert popped(polls, 2) == ["likely", "unknown"]


def test_what_is_learnt_changes_the_plan_of_those_that_wait(polls):
    durations = Durations()
    entry = pending("a", NOW, durations)
    entry.age = 10.0
    polls.add(entry, NOW + 60, NOW + 60)
    for _ in range(ENOUGH):
        durations.note_end(9.5, 11.0)
    polls.plan_anew(durations)
    assert next_at(polls) < NOW + 5


def test_one_poll_in_five_goes_to_what_is_urgent_however_many_are_hinted_at(polls):
    added(polls, *((f"hinted-{number}", 7, 50) for number in range(20)))
    added(polls, *((f"other-{number}", 5, 50) for number in range(9)), urgent=60)
    for number in range(20):
        polls.hint(f"hinted-{number}")
    kinds = [name.partition("-")[0] for name in popped(polls, 10)]
    assert kinds == [*["hinted"] * 4, "other"] * 2


def test_a_hint_during_a_poll_brings_the_next_one_at_once_and_no_second_at_the_same_time(polls):
    (entry,) = added(polls, ("a", 1, 50))
    assert popped(polls, 1) == ["a"]
    polls.hint("a")
    assert next_at(polls) == math.inf
    polls.schedule(entry, NOW + 50, NEVER)
    assert next_at(polls) < NOW
    assert popped(polls, 1) == ["a"]


def test_what_is_done_is_not_polled(polls):
    first, second, third = added(polls, ("a", 1, 10), ("b", 2, 20), ("c", 3, 30))
    polls.hint("b")
    first.future.cancel()
    second.future.cancel()
    assert next_at(polls) == 30
    assert polls.pop(NOW) is third


def test_it_forgets_what_is_removed(polls):
    first, second = added(polls, ("a", 1, NOW), ("a", 2, NOW))
    assert polls.remove(first)
    assert not polls.remove(first)
    assert list(polls) == [second]
    polls.hint("a")
    assert not first.is_hinted
    assert second.is_hinted
    assert polls.remove(second)
    assert list(polls) == []


def test_after_a_hint_the_next_polls_come_before_the_others_until_the_record_is_there(polls):
    added(polls, *((f"other-{number}", 0, 50) for number in range(50)))
    (entry,) = added(polls, ("heard", NOW, NOW + 50))
    polls.hint("heard")
    assert popped(polls, 1) == ["heard"]
    polls.schedule(entry, NOW - 0.01, NOW - 0.01)
    assert popped(polls, 1) == ["heard"]
