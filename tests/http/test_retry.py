"""What is retried, when, and for how long."""

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, formatdate

import pytest

from flow_client._core.deadline import Deadline
from flow_client._http.retry import Call, Retrier, is_transient, retry_after_seconds
from flow_client.errors import (
    ExecutionWaitTimeout,
    PlatformConflictError,
    PlatformConnectionError,
    PlatformResponseError,
    PlatformServerError,
    PlatformStatusError,
    PlatformTimeoutError,
)

NOW = 1_800_000_000.0


class Attempts:
    """Fails as told, then succeeds; keeps the time that was slept."""

    def __init__(self, *failures, timeout=60.0, max_attempts=3):
        self.failures = list(failures)
        self.now = 0.0
        self.sleeps = []
        self.call = Call(self.attempt, Deadline(timeout, lambda: self.now), max_attempts, "GET /x")

    def attempt(self):
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds

    def run(self, retrier=None):
        return (retrier or Retrier(sleep=self.sleep, uniform=lambda low, high: high)).run(self.call)


def server_error(status=503, **context):
    return PlatformServerError(f"{status}", status_code=status, **context)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_these_statuses_are_retried(status):
    assert is_transient(PlatformStatusError("x", status_code=status))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 422, 501, 505])
def test_other_statuses_are_not(status):
    assert not is_transient(PlatformStatusError("x", status_code=status))


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (PlatformConnectionError("x", request_sent=False, stage="connect"), True),
        (PlatformConnectionError("x", request_sent=True, stage="answer"), True),
        (PlatformConnectionError("x", stage="tls"), False),
        (PlatformTimeoutError("x", stage="answer"), False),
        (PlatformResponseError("x", status_code=200), False),
        (PlatformConflictError("x", detail="Request in progress", idempotency_key="k"), True),
        (PlatformConflictError("x", detail={"code": "in_progress"}, idempotency_key="k"), True),
        (PlatformConflictError("x", detail="already cancelled", idempotency_key="k"), False),
        (PlatformConflictError("x", detail="in progress"), False),
        (ExecutionWaitTimeout("x"), False),
        (KeyboardInterrupt(), False),
        (ValueError("x"), False),
    ],
)
def test_what_is_transient(error, retried):
    assert is_transient(error) is retried


def test_three_attempts_with_doubling_pauses():
    attempts = Attempts(server_error(), server_error())
    assert attempts.run() == "done"
    assert attempts.sleeps == [0.25, 0.5]


def test_the_last_error_is_raised_as_it_is():
    last = server_error(504)
    attempts = Attempts(server_error(), server_error(), last)
    with pytest.raises(PlatformServerError) as caught:
        attempts.run()
    assert caught.value is last


def test_pauses_are_capped_at_8_seconds():
    attempts = Attempts(*[server_error() for _ in range(9)], timeout=1000, max_attempts=10)
    attempts.run()
    assert attempts.sleeps == [0.25, 0.5, 1, 2, 4, 8, 8, 8, 8]


def test_jitter_shortens_a_pause_by_at_most_half():
    attempts = Attempts(server_error())
    attempts.run(Retrier(sleep=attempts.sleep, uniform=lambda low, high: low))
    assert attempts.sleeps == [0.125]


def test_no_pause_reaches_past_the_deadline():
    attempts = Attempts(server_error(), server_error(), timeout=0.6)
    with pytest.raises(PlatformServerError):
        attempts.run()
    assert attempts.sleeps == [0.25]


def test_retry_after_is_kept_to():
    attempts = Attempts(server_error(retry_after=7.0))
    attempts.run()
    assert attempts.sleeps == [pytest.approx(7.7)]


def test_callers_who_are_told_the_same_retry_after_return_at_different_moments():
    attempts = [Attempts(server_error(retry_after=30.0)) for _ in range(50)]
    for each in attempts:
        each.run(Retrier(sleep=each.sleep))
    assert len({each.now for each in attempts}) == 50
    assert all(30 <= each.now <= 33 for each in attempts)


def test_a_retry_after_that_does_not_fit_the_deadline_ends_the_call_at_once():
    attempts = Attempts(server_error(retry_after=1e6))
    with pytest.raises(PlatformServerError) as caught:
        attempts.run()
    assert attempts.sleeps == []
    assert caught.value.retry_after == 1e6


def test_an_interrupt_is_not_retried():
    attempts = Attempts(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        attempts.run()
    assert attempts.call.attempts == 1


def test_fifty_failing_calls_cost_at_most_eighty_requests():
    retrier = Retrier(sleep=lambda _: None)
    requests = 0
    for _ in range(50):
        attempts = Attempts(server_error(), server_error(), server_error())
        with pytest.raises(PlatformServerError):
            attempts.run(retrier)
        requests += attempts.call.attempts
    assert 50 < requests <= 80


def test_retries_that_succeed_do_not_use_up_the_budget():
    retrier = Retrier(sleep=lambda _: None)
    for _ in range(200):
        attempts = Attempts(server_error())
        assert attempts.run(retrier) == "done"
        assert attempts.call.attempts == 2


def test_the_budget_recovers_with_successes():
    retrier = Retrier(sleep=lambda _: None)
    for _ in range(50):
        with pytest.raises(PlatformServerError):
            Attempts(server_error(), server_error(), server_error()).run(retrier)
    with pytest.raises(PlatformServerError):
        Attempts(server_error()).run(retrier)
    for _ in range(11):
        Attempts().run(retrier)
    assert Attempts(server_error()).run(retrier) == "done"


def test_each_retry_is_one_warning(caplog):
    attempts = Attempts(server_error(), server_error())
    with caplog.at_level("WARNING", logger="flow_client"):
        attempts.run()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "GET /x: attempt 1 of 3 failed, the next in 0.25 s: 503" in caplog.messages[0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("999999999999", 999999999999),
        ("1e3", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (format_datetime(datetime.fromtimestamp(NOW, timezone(timedelta(hours=2))) + timedelta(seconds=5)), 5),
        ("Sun, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_headers(header, seconds):
    found = retry_after_seconds(header, now=lambda: NOW)
    assert found == (pytest.approx(seconds, abs=1e-6) if seconds is not None else None)


def test_a_date_is_measured_against_the_answers_own_date():
    asked, answered = formatdate(NOW + 90, usegmt=True), formatdate(NOW + 80, usegmt=True)
    assert retry_after_seconds(asked, answered, now=lambda: NOW - 5000) == 10
    assert retry_after_seconds(asked, "yesterday", now=lambda: NOW) == 90
    assert retry_after_seconds("120", answered, now=lambda: NOW) == 120
