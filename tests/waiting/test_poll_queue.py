"""Which execution is polled next."""

import math

import pytest

from flow_client._core.deadline import Deadline
from flow_client._waiting.execution_future import ExecutionFuture
from flow_client._waiting.poll_queue import PendingPoll, PollQueue
from flow_client._waiting.polling import PollSchedule, Watch

NOW = 100.0


def pending(execution_id):
    return PendingPoll(ExecutionFuture(execution_id), Watch(execution_id, Deadline(math.inf), PollSchedule()))


@pytest.fixture
def polls():
    return PollQueue()


def added(polls, *entries):
    """Add executions, each given with the time of its first poll, and return their entries."""
    waiting = [(pending(execution_id), due) for execution_id, due in entries]
    for entry, due in waiting:
        polls.add(entry, due)
    return [entry for entry, _ in waiting]


def popped(polls, times):
    return [polls.pop(NOW).future.execution_id for _ in range(times)]


def test_the_one_most_overdue_comes_first(polls):
    added(polls, ("a", 3), ("b", 1), ("c", 2))
    assert polls.next_due() == 1
    assert popped(polls, 3) == ["b", "c", "a"]
    assert polls.next_due() == math.inf


def test_a_changed_time_counts_and_the_former_does_not(polls):
    (first, _) = added(polls, ("a", 1), ("b", 2))
    polls.schedule(first, 3)
    assert popped(polls, 2) == ["b", "a"]
    assert polls.next_due() == math.inf


def test_those_with_a_hint_come_first_in_the_order_of_hints_and_once(polls):
    added(polls, ("a", 1), ("b", 2), ("c", NOW + 50))
    for execution_id in ("c", "b", "c", "unknown"):
        polls.prioritise(execution_id)
    assert polls.next_due() < NOW
    assert popped(polls, 3) == ["c", "b", "a"]
    assert polls.next_due() == math.inf


def test_one_poll_in_five_goes_to_the_others_however_many_are_prioritised(polls):
    added(polls, *((f"hinted-{number}", 7) for number in range(20)))
    added(polls, *((f"other-{number}", 5) for number in range(9)))
    for number in range(20):
        polls.prioritise(f"hinted-{number}")
    kinds = [name.partition("-")[0] for name in popped(polls, 10)]
    assert kinds == [*["hinted"] * 4, "other"] * 2


def test_one_that_is_not_due_takes_no_turn(polls):
    added(polls, *((f"h-{number}", NOW + 9) for number in range(6)), ("later", NOW + 1))
    for number in range(6):
        polls.prioritise(f"h-{number}")
    assert popped(polls, 6) == [f"h-{number}" for number in range(6)]


def test_what_is_done_is_not_polled(polls):
    first, second, third = added(polls, ("a", 1), ("b", 2), ("c", 3))
    polls.prioritise("b")
    first.future.cancel()
    second.future.cancel()
    assert polls.next_due() == 3
    assert polls.pop(NOW) is third


def test_it_forgets_what_is_removed(polls):
    first, second = added(polls, ("a", NOW), ("a", NOW))
    assert polls.remove(first)
    assert not polls.remove(first)
    assert list(polls) == [second]
    polls.prioritise("a")
    assert not first.was_announced
    assert second.was_announced
    assert polls.remove(second)
    assert list(polls) == []
