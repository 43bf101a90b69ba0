"""Who is looked at next."""

import math

import pytest

from flow_client._core.deadline import Deadline
from flow_client._waiting.agenda import Agenda, Watched
from flow_client._waiting.futures import ExecutionFuture
from flow_client._waiting.polling import PollSchedule, Watch

NOW = 100.0


def watched(execution_id, due=NOW):
    return Watched(ExecutionFuture(execution_id), Watch(execution_id, Deadline(math.inf), PollSchedule()), due)


@pytest.fixture
def agenda():
    return Agenda()


def entered(agenda, *entries):
    for entry in entries:
        agenda.enter(entry)
    return entries


def taken(agenda, times):
    return [agenda.take(NOW).future.execution_id for _ in range(times)]


def test_whoever_is_overdue_longest_comes_first(agenda):
    entered(agenda, watched("a", 3), watched("b", 1), watched("c", 2))
    assert agenda.next_due() == 1
    assert taken(agenda, 3) == ["b", "c", "a"]
    assert agenda.next_due() == math.inf


def test_a_changed_time_counts_and_the_former_does_not(agenda):
    (first, _) = entered(agenda, watched("a", 1), watched("b", 2))
    agenda.add(first, 3)
    assert taken(agenda, 2) == ["b", "a"]
    assert agenda.next_due() == math.inf


def test_those_that_are_said_to_have_ended_come_first_in_their_order_and_once(agenda):
    entered(agenda, watched("a", 1), watched("b", 2), watched("c", NOW + 50))
    for execution_id in ("c", "b", "c", "unknown"):
        agenda.hasten(execution_id)
    assert agenda.next_due() < NOW
    assert taken(agenda, 3) == ["c", "b", "a"]
    assert agenda.next_due() == math.inf


def test_of_five_looks_one_goes_to_the_others_however_many_are_hastened(agenda):
    entered(agenda, *(watched(f"hinted-{number}", 7) for number in range(20)))
    entered(agenda, *(watched(f"other-{number}", 5) for number in range(9)))
    for number in range(20):
        agenda.hasten(f"hinted-{number}")
    kinds = [name.partition("-")[0] for name in taken(agenda, 10)]
    assert kinds == [*["hinted"] * 4, "other"] * 2


def test_nobody_who_is_not_due_takes_a_turn(agenda):
    entered(agenda, *(watched(f"h-{number}", NOW + 9) for number in range(6)), watched("later", NOW + 1))
    for number in range(6):
        agenda.hasten(f"h-{number}")
    assert taken(agenda, 6) == [f"h-{number}" for number in range(6)]


def test_what_is_done_is_not_looked_at(agenda):
    first, second, third = entered(agenda, watched("a", 1), watched("b", 2), watched("c", 3))
    agenda.hasten("b")
    first.future.cancel()
    second.future.cancel()
    assert agenda.next_due() == 3
    assert agenda.take(NOW) is third


def test_it_forgets_whoever_leaves(agenda):
    first, second = entered(agenda, watched("a"), watched("a"))
    assert agenda.leave(first)
    assert not agenda.leave(first)
    assert list(agenda.entered()) == [second]
    agenda.hasten("a")
    assert not first.announced
    assert second.announced
    assert agenda.leave(second)
    assert list(agenda.entered()) == []
