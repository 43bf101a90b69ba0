"""What belongs to a batch's submission, and what does not."""

import contextvars
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from flow_client._batch import submission
from flow_client._batch.submission import Submission

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Calls:
    """What a client would have been called with."""

    def __init__(self, headers=None):
        self.options = []
        self._headers = headers or {}

    def __call__(self, **options):
        self.options.append(options)
        return SimpleNamespace(headers=self._headers)

    def submit(self, key=None, timeout=300.0):
        return submission.send(self, key, timeout)


def test_outside_of_a_batch_a_submit_has_the_clients_own_limits():
    calls = Calls()
    calls.submit("k")
    calls.submit()
    assert calls.options == [{"idempotency_key": "k"}, {"idempotency_key": None}]


def test_the_first_submit_of_a_try_is_its_own_and_has_more_time_each_time():
    calls = Calls()
    submission = Submission("batch-0", is_implied=True)
    for _ in range(3):
        submission.attempt(lambda: (calls.submit(), calls.submit()))
    own = [options for options in calls.options if "timeout" in options]
    assert own == [
        {"idempotency_key": "batch-0", "timeout": seconds, "max_attempts": 1} for seconds in (30.0, 60.0, 120.0)
    ]
    assert calls.options[1::2] == [{"idempotency_key": None}] * 3


def test_the_clients_time_is_the_limit():
    calls = Calls()
    Submission("k", is_implied=True).attempt(calls.submit, timeout=5.0)
    assert calls.options[0]["timeout"] == 5.0


def test_the_key_of_the_first_try_stays():
    calls = Calls()
    own, unset = Submission("batch-0", is_implied=True), Submission("batch-1", is_implied=False)
    for number in range(2):
        own.attempt(calls.submit, f"own-{number}")
        unset.attempt(calls.submit)
    keys = [options["idempotency_key"] for options in calls.options]
    assert keys[0::2] == ["own-0", "own-0"]
    assert keys[1] == keys[3] != "batch-1"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_a_try_that_was_left_leaves_nothing_to_the_next_submit(error):
    def submit():
        raise error

    submission, calls = Submission("batch-0", is_implied=True), Calls()
    with pytest.raises(error):
        submission.attempt(submit)
    calls.submit()
    assert calls.options == [{"idempotency_key": None}]


def test_a_thread_that_outlives_the_try_does_not_submit_for_it():
    calls, over = Calls(), threading.Event()
    threads = []

    def submit():
        run = contextvars.copy_context().run
        threads.append(threading.Thread(target=run, args=(lambda: (over.wait(10), calls.submit()),)))
        threads[0].start()

    Submission("batch-0", is_implied=True).attempt(submit)
    over.set()
    threads[0].join()
    assert calls.options == [{"idempotency_key": None}]


@pytest.mark.parametrize(
    ("created_at", "date", "expected"),
    [
        (NOW - timedelta(hours=1), NOW, True),
        ((NOW - timedelta(hours=1)).replace(tzinfo=None), NOW, True),
        (NOW - timedelta(seconds=9), NOW, False),
        (NOW + timedelta(hours=1), NOW, False),
        (None, NOW, False),
        (NOW - timedelta(hours=1), None, False),
    ],
)
def test_an_execution_is_older_by_the_platforms_own_clocks(created_at, date, expected):
    calls = Calls({"Date": "soon" if date is None else format_datetime(date, usegmt=True)})
    submission = Submission("k", is_implied=True)
    submission.attempt(calls.submit)
    assert submission.is_later_than(created_at) is expected


@pytest.mark.parametrize(("tries", "expected"), [(1, True), (2, False)])
def test_a_replay_is_of_an_earlier_run_unless_a_try_of_this_one_may_have_got_through(tries, expected):
    calls = Calls({"Idempotent-Replayed": "True"})
    submission = Submission("k", is_implied=True)
    for _ in range(tries):
        submission.attempt(calls.submit)
    assert submission.is_replayed is expected
