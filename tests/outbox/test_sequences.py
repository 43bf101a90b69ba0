"""The numbers of an execution's events."""

import pytest

from flow_client import BridgeError
from flow_client._nats.outbox.backlog import Message
from flow_client._nats.outbox.sequences import LONGEST_MEMORY, Sequences
from flow_client._nats.payloads import event
from flow_client._nats.store import Stored


def _last(number, position):
    return Stored(position, "id", b'{"sequence": %d}' % number)


def _event(subject):
    return Message(subject, event("e", "chunk", None))


def test_numbers_begin_at_one():
    sequences = Sequences()
    assert sequences.unknown([_event("s.a"), Message("t.a", b"")]) == {"s.a"}
    sequences.read("s.a", None)
    assert not sequences.unknown([_event("s.a")])
    assert (sequences.take_number("s.a"), sequences.position("s.a")) == (1, 0)


def test_numbers_go_on_from_the_last_stored_one():
    sequences = Sequences()
    sequences.read("s.a", _last(41, 100))
    assert (sequences.take_number("s.a"), sequences.position("s.a")) == (42, 100)
    sequences.stored("s.a", 42, 101)
    assert (sequences.take_number("s.a"), sequences.position("s.a")) == (43, 101)


def test_numbers_of_events_on_their_way_are_taken_until_the_last_stored_one_is_read_again():
    sequences = Sequences()
    sequences.read("s.a", _last(41, 100))
    assert [sequences.take_number("s.a") for _ in range(3)] == [42, 43, 44]
    sequences.stored("s.a", 42, 101)
    sequences.mark_stale("s.a")
    assert sequences.unknown([_event("s.a")]) == {"s.a"}
    sequences.read("s.a", _last(42, 101))
    assert sequences.take_number("s.a") == 43


def test_what_was_stored_since_a_doubt_does_not_remove_it():
    sequences = Sequences()
    sequences.read("s.a", _last(41, 100))
    sequences.mark_stale("s.a")
    sequences.stored("s.a", 42, 101)
    assert sequences.unknown([_event("s.a")]) == {"s.a"}


def test_a_doubt_has_the_last_one_read_again_and_numbers_never_go_back():
    sequences = Sequences()
    sequences.read("s.a", _last(41, 100))
    sequences.mark_stale("s.a")
    assert sequences.unknown([_event("s.a")]) == {"s.a"}
    sequences.read("s.a", None)  # the stream was purged
    assert (sequences.take_number("s.a"), sequences.position("s.a")) == (42, 0)


def test_the_place_of_the_last_one_is_enough():
    sequences = Sequences()
    sequences.read("s.a", _last(1, 5))
    sequences.stored("s.a", 2, None)
    assert sequences.unknown([_event("s.a")]) == {"s.a"}
    sequences.stored("s.a", 3, 7)
    assert not sequences.unknown([_event("s.a")])
    assert sequences.position("s.a") == 7


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"sequence": "x"}', b"\xff"])
def test_what_has_no_number_is_an_error(payload):
    with pytest.raises(BridgeError, match="no sequence number"):
        Sequences().read("s.a", Stored(1, None, payload))


def test_what_is_needed_is_kept_and_of_the_rest_what_was_used_last():
    sequences = Sequences()
    needed = {f"s.{number}" for number in range(10)}
    for number in range(LONGEST_MEMORY + 100):
        sequences.read(f"s.{number}", None)
    sequences.take_number("s.10")
    sequences.stored("s.10", 1, 5)
    assert sequences.overflows
    sequences.forget_all_but(needed)
    assert not sequences.overflows
    assert {sequences.position(subject) for subject in needed} == {0}
    assert sequences.position("s.10") == 5
    assert [sequences.position(f"s.{number}") for number in (11, 110, 111)] == [None, None, 0]


def test_reading_one_subject_forgets_no_other():
    sequences = Sequences()
    for number in range(3 * LONGEST_MEMORY):
        sequences.read(f"s.{number}", None)
    assert {sequences.take_number(f"s.{number}") for number in range(3 * LONGEST_MEMORY)} == {1}
