"""The wait's schedule and its end, on a clock that is set by hand."""

import math
from itertools import pairwise

import pytest

from flow_client._core.deadline import Deadline
from flow_client._waiting.polling import Poll, PollLoop, PollSchedule, Watch
from flow_client.errors import (
    ExecutionWaitTimeout,
    PlatformAuthenticationError,
    PlatformConnectionError,
    PlatformNotFoundError,
    PlatformServerError,
    PlatformTimeoutError,
)
from flow_client.models import ExecutionRecord


class Platform:
    """An execution that ends at a given second, on a clock of its own; polls cost nothing unless they are held."""

    def __init__(self, ends_at=None, *, holds=False, failures=()):
        self.now = 0.0
        self.ends_at = ends_at
        self.holds = holds
        self.failures = list(failures)
        self.polls = []
        self.seen_at = None

    def poll(self, execution_id, *, hold, timeout):
        self.polls.append((self.now, hold, timeout))
        if self.failures:
            failure = self.failures.pop(0)
            if failure is not None:
                raise failure
        ended = self.ends_at is not None and self.now >= self.ends_at
        if self.holds and hold and not ended:
            end = self.now + hold
            self.now = min(end, self.ends_at) if self.ends_at is not None else end
            ended = self.ends_at is not None and self.now >= self.ends_at
        status = "completed" if ended else "running"
        return Poll(ExecutionRecord(execution_id=execution_id, status=status), held=self.holds and bool(hold))

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def wait(self, timeout=300.0, schedule=None, **options):
        waiter = PollLoop(
            self.poll, clock=lambda: self.now, sleep=self.sleep, uniform=lambda low, high: (low + high) / 2
        )
        return waiter.run("e-1", timeout, schedule or PollSchedule(), **options)


def test_half_an_hour_takes_at_most_100_requests_without_long_polls():
    platform = Platform(ends_at=1800)
    assert platform.wait(timeout=3600).status == "completed"
    assert len(platform.polls) <= 100


def test_half_an_hour_takes_one_request_in_20_seconds_with_long_polls():
    platform = Platform(ends_at=1800, holds=True)
    assert platform.wait(timeout=3600).status == "completed"
    assert len(platform.polls) <= 1800 / 20 + 1
    assert platform.now == 1800


def test_the_overshoot_stays_in_proportion():
    overshoots = []
    for tenth in range(10, 3000, 7):
        platform = Platform(ends_at=tenth / 10)
        platform.wait(timeout=3600)
        overshoots.append((platform.now - platform.ends_at) / platform.ends_at)
    assert sum(overshoots) / len(overshoots) <= 0.15


def test_a_given_interval_is_a_fixed_pace_without_holds():
    platform = Platform(ends_at=10, holds=True)
    platform.wait(schedule=PollSchedule(interval=0.5))
    assert [at for at, *_ in platform.polls] == [n * 0.5 for n in range(21)]
    assert {hold for _, hold, _ in platform.polls} == {0}


@pytest.mark.parametrize("holds", [True, False])
def test_the_last_poll_is_made_at_the_deadline(holds):
    platform = Platform(holds=holds)
    with pytest.raises(ExecutionWaitTimeout) as caught:
        platform.wait(timeout=7.5)
    at, hold, timeout = platform.polls[-1]
    assert (at, hold) == (7.5, 0)
    assert timeout <= 0.25
    assert (caught.value.execution_id, caught.value.last_status) == ("e-1", "running")
    assert "client.execution('e-1').wait()" in str(caught.value)


def test_an_end_at_the_deadline_is_still_seen():
    platform = Platform(ends_at=7.5)
    assert platform.wait(timeout=7.5).status == "completed"


def test_a_wait_of_no_time_polls_once():
    platform = Platform()
    with pytest.raises(ExecutionWaitTimeout):
        platform.wait(timeout=0)
    assert len(platform.polls) == 1


def test_a_platform_that_claims_to_hold_but_does_not_is_polled_at_the_schedules_pace():
    platform = Platform(ends_at=60)

    def poll(execution_id, *, hold, timeout):
        answer = Platform.poll(platform, execution_id, hold=hold, timeout=timeout)
        return Poll(answer.record, held=True)

    loop = PollLoop(poll, clock=lambda: platform.now, sleep=platform.sleep, uniform=lambda *_: 1.0)
    loop.run("e-1", 300, PollSchedule())
    assert len(platform.polls) < 70


TRANSIENT = [
    PlatformConnectionError("dropped"),
    PlatformTimeoutError("late"),
    PlatformServerError("503", status_code=503),
]


@pytest.mark.parametrize("failure", TRANSIENT)
def test_transient_errors_do_not_end_a_wait(failure):
    platform = Platform(ends_at=2, failures=[failure] * 5)
    assert platform.wait().status == "completed"


def test_an_outage_is_polled_more_and_more_slowly():
    platform = Platform(failures=[PlatformConnectionError("down")] * 10_000)
    with pytest.raises(ExecutionWaitTimeout, match="polls failed, the last with: down") as caught:
        platform.wait(timeout=600)
    assert isinstance(caught.value.__cause__, PlatformConnectionError)
    assert len(platform.polls) <= 50


def test_waits_that_fail_together_come_back_spread_out():
    polls = []
    for _ in range(50):
        platform = Platform(failures=[PlatformConnectionError("down")] * 1000)
        loop = PollLoop(platform.poll, clock=lambda platform=platform: platform.now, sleep=platform.sleep)
        with pytest.raises(ExecutionWaitTimeout):
            loop.run("e-1", 60, PollSchedule())
        polls.append([at for at, *_ in platform.polls])
    for number in (1, 5):
        assert len({each[number] for each in polls}) == 50
    assert all(len(each) <= 20 for each in polls)


def test_the_pause_after_a_failure_grows_to_the_schedules_own():
    platform = Platform()

    def poll(execution_id, *, hold, timeout):
        platform.failures = [PlatformConnectionError("down")] if platform.now > 3600 else []
        return Platform.poll(platform, execution_id, hold=hold, timeout=timeout)

    loop = PollLoop(poll, clock=lambda: platform.now, sleep=platform.sleep, uniform=lambda low, high: (low + high) / 2)
    with pytest.raises(ExecutionWaitTimeout):
        loop.run("e-1", 7200, PollSchedule())
    failed = [at for at, *_ in platform.polls if at > 3600]
    pauses = [after - before for before, after in pairwise(failed)][:9]
    assert pauses == [pytest.approx(0.75 * seconds) for seconds in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 60)]


def test_retry_after_is_kept_to():
    platform = Platform(ends_at=1, failures=[PlatformServerError("503", status_code=503, retry_after=30)])
    platform.wait()
    assert platform.now >= 30


def test_a_wait_asks_again_after_a_minute_however_long_it_was_told_to_stay_away():
    platform = Platform(ends_at=1, failures=[PlatformServerError("503", status_code=503, retry_after=3600)])
    assert platform.wait().status == "completed"
    assert [at for at, *_ in platform.polls] == [0, pytest.approx(63)]


def test_a_wait_without_a_limit_goes_on_until_the_end():
    platform = Platform(ends_at=40 * 24 * 3600)
    assert platform.wait(timeout=math.inf).status == "completed"


def test_a_permanent_error_ends_the_wait_at_once():
    platform = Platform(failures=[PlatformAuthenticationError("401", status_code=401)])
    with pytest.raises(PlatformAuthenticationError):
        platform.wait()
    assert len(platform.polls) == 1


def not_found():
    return PlatformNotFoundError("404", status_code=404)


def test_a_record_may_take_a_while_to_be_visible():
    platform = Platform(ends_at=5, failures=[not_found()] * 8)
    assert platform.wait().status == "completed"


def test_a_record_that_stays_invisible_is_not_found():
    platform = Platform(failures=[not_found()] * 10_000)
    with pytest.raises(PlatformNotFoundError):
        platform.wait(not_found_grace=30)
    assert 30 <= platform.now <= 40


def test_without_grace_the_first_404_counts():
    platform = Platform(failures=[not_found()])
    with pytest.raises(PlatformNotFoundError):
        platform.wait(not_found_grace=0)


def test_the_word_of_an_end_begins_the_schedule_anew():
    clock = {"now": 0.0}
    deadline = Deadline(3600, lambda: clock["now"])
    watch = Watch("e-1", deadline, PollSchedule(), uniform=lambda low, high: (low + high) / 2)
    clock["now"] = 100
    assert watch.pause() == pytest.approx(12)
    watch.expect_end()
    assert watch.pause() == pytest.approx(0.05)
    clock["now"] = 110
    assert watch.pause() == pytest.approx(1.2)
