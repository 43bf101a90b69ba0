"""How many requests a second are sent, on a clock of the test's own."""

import pytest

from flow_client._waiting.adaptive_rate import AdaptiveRate
from flow_client._waiting.pace import ROUTINE, Pace
from flow_client.errors import PlatformConnectionError, PlatformRateLimitError, PlatformServerError


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rate(clock):
    return AdaptiveRate(1000, clock)


@pytest.fixture
def pace(clock):
    return Pace(1000, clock, lambda low, _: low)


def busy(rate, clock, seconds, *, latency=0.001, is_short=True):
    """Let requests be answered at the rate, all of which it holds up."""
    end = clock.now + seconds
    while clock.now < end:
        if is_short:
            rate.note_short()
        clock.now += 1 / rate.per_second
        rate.note_answer(latency)


def test_it_starts_at_200_and_doubles_to_its_limit_while_it_holds_requests_up(rate, clock):
    assert rate.per_second == 200
    busy(rate, clock, 0.11)
    assert rate.per_second == 400
    busy(rate, clock, 1)
    assert rate.per_second == 1000


def test_it_does_not_grow_for_a_client_that_asks_little(rate, clock):
    busy(rate, clock, 5, is_short=False)
    assert rate.per_second == 200


@pytest.mark.parametrize("most", [0.5, 3, 150])
def test_it_never_exceeds_a_limit_below_its_start(clock, most):
    rate = AdaptiveRate(most, clock)
    busy(rate, clock, 30)
    assert rate.per_second == most
    rate.note_refusal()
    assert rate.per_second <= most


def test_a_refusal_leaves_four_fifths_of_what_was_answered_in_the_last_second(rate, clock):
    busy(rate, clock, 3)
    rate.note_refusal()
    assert rate.per_second == pytest.approx(800, rel=0.02)


def test_after_a_refusal_it_comes_close_to_the_limit_within_seconds_and_then_probes(rate, clock):
    busy(rate, clock, 3)
    rate.note_refusal()
    busy(rate, clock, 4)
    assert 950 < rate.per_second <= 1000


def test_a_client_that_asked_little_is_not_cut_to_nothing(rate, clock):
    rate.note_answer(0.001)
    rate.note_refusal()
    assert rate.per_second == 16
    for _ in range(10):
        rate.note_refusal()
    assert rate.per_second == 5


def test_answers_that_take_twice_as_long_cut_it_but_not_below_its_start(rate, clock):
    """Alone they may mean that this machine is busy."""
    busy(rate, clock, 1)
    busy(rate, clock, 0.2, latency=0.5)
    assert rate.per_second < 1000
    for _ in range(200):
        clock.now += 0.1
        rate.note_short()
        rate.note_answer(0.5)
    assert rate.per_second >= 200


def test_slow_answers_say_nothing_while_the_rate_holds_nothing_up(rate, clock):
    busy(rate, clock, 1)
    busy(rate, clock, 2, latency=0.5, is_short=False)
    assert rate.per_second == 1000


def test_the_answers_of_a_platform_far_away_are_not_slow(rate, clock):
    busy(rate, clock, 2, latency=0.3)
    assert rate.per_second == 1000


def test_an_outage_halves_it_once_a_second_and_it_comes_back(rate, clock):
    for _ in range(50):
        rate.note_broken()
    assert rate.per_second == 100
    for _ in range(20):
        clock.now += 1
        rate.note_broken()
    assert rate.per_second == 5
    busy(rate, clock, 15)
    assert rate.per_second >= 190


def test_requests_are_spaced_by_the_rate(pace, clock):
    sent = []
    for _ in range(100):
        clock.now = max(clock.now, pace.urgent_at)
        pace.take()
        sent.append(clock.now)
    assert sent[-1] - sent[0] == pytest.approx(99 / 200, abs=0.03)


def test_what_is_not_urgent_keeps_to_a_lower_rate(pace, clock):
    for _ in range(50):
        clock.now = max(clock.now, pace.routine_at)
        pace.take()
    started = clock.now
    for _ in range(100):
        clock.now = max(clock.now, pace.routine_at)
        pace.take()
    assert clock.now - started == pytest.approx(100 / ROUTINE, rel=0.05)


def test_polls_go_before_submissions_but_one_submission_in_five_passes(pace, clock):
    wanted, polls = clock.now, 0
    pace.take()
    while pace.submission_at(wanted) > clock.now:
        clock.now = min(pace.urgent_at, pace.submission_at(wanted)) if pace.urgent_at > clock.now else clock.now
        if pace.submission_at(wanted) > clock.now:
            pace.take()
            polls += 1
    assert polls >= 4
    assert clock.now - wanted <= 6 / 200


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (PlatformRateLimitError("", status_code=429, retry_after=7.0), 7),
        (PlatformServerError("", status_code=503, retry_after=7.0), 7),
        (PlatformServerError("", status_code=502, retry_after=7.0), 7),
        (PlatformRateLimitError("", status_code=429, retry_after=3600.0), 60),
        (PlatformServerError("", status_code=503), 0.125),
        (PlatformServerError("", status_code=500), 0),
    ],
)
def test_everything_rests_for_as_long_as_the_platform_asks(pace, clock, error, seconds):
    pace.note_error(error)
    assert pace.resting == seconds
    assert min(pace.urgent_at, pace.routine_at, pace.submission_at(clock.now)) >= (
        clock.now + seconds if seconds else 0
    )
    clock.now += seconds
    assert pace.resting == 0


def test_refusals_that_were_on_their_way_count_once(pace):
    for _ in range(30):
        pace.note_error(PlatformRateLimitError("", status_code=429, retry_after=1.0))
    assert pace.refusals == 30
    assert pace.rate.per_second == 16


def test_a_lost_connection_slows_down_and_rests_nobody(pace):
    pace.note_error(PlatformConnectionError("gone"))
    assert pace.resting == 0
    assert pace.rate.per_second == 100
