"""Checks of durations, numbers and ids, which every public argument goes through."""

import math
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from flow_client._core.checks import LONGEST_SECONDS, identifier, seconds, seconds_from_text, shown, whole_number
from flow_client.errors import ConfigurationError, InvalidRequestError

UNUSABLE = [
    *(0, -1, 1e10, 1e300, sys.maxsize, 10**400, 10**5000, math.inf, -math.inf, math.nan),
    *(True, "5", b"5", None, [], Decimal(5), 1j),
]


@pytest.mark.parametrize("value", UNUSABLE, ids=lambda value: shown(value)[:20])
def test_what_cannot_be_waited_for_is_refused(value):
    with pytest.raises(InvalidRequestError, match=r"^timeout is .*; it must be a number of seconds above 0"):
        seconds(value, "timeout")


@pytest.mark.parametrize("value", [5e-324, 1, 2.5, LONGEST_SECONDS, Fraction(1, 2)])
def test_what_can_be_waited_for_is_taken(value):
    assert seconds(value, "timeout") == value


def test_a_whole_number_of_seconds_stays_one():
    assert isinstance(seconds(300, "timeout"), int)
    assert isinstance(seconds(Fraction(3), "timeout"), float)


def test_zero_is_taken_where_it_makes_sense():
    assert seconds(0, "grace", zero=True) == 0
    with pytest.raises(InvalidRequestError, match="at least 0"):
        seconds(-1, "grace", zero=True)


def test_the_longest_duration_and_the_sum_of_a_few_can_be_waited_for():
    """Locks take it in whatever thread: a lock that is released at once returns at once."""
    assert 4 * LONGEST_SECONDS <= threading.TIMEOUT_MAX
    lock = threading.Lock()
    assert lock.acquire(timeout=4 * LONGEST_SECONDS)
    event = threading.Event()
    threading.Timer(0.1, event.set).start()
    assert event.wait(LONGEST_SECONDS)
    assert time.monotonic() + LONGEST_SECONDS < math.inf


@pytest.mark.parametrize("text", ["soon", "0", "nan", "inf", "1e10", ""])
def test_a_variable_that_holds_no_duration_is_named(text):
    with pytest.raises(ConfigurationError, match="FLOW_X is"):
        seconds_from_text(text, "FLOW_X")


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_other_numbers_than_whole_ones_above_zero_are_refused(value):
    with pytest.raises(ConfigurationError, match="max_attempts is"):
        whole_number(value, "max_attempts")


@pytest.mark.parametrize("value", [5, b"r-1", 1.5, ["r-1"], object()])
def test_an_id_is_a_uuid_or_a_string(value):
    with pytest.raises(ConfigurationError, match=r"ring_id is .*; it must be a UUID or a string"):
        identifier(value, "ring_id")
