"""What keeps many clients from acting as one, counted on the simulated fleet of benchmarks/fleet.py."""

import pytest

from benchmarks import fleet

CLIENTS = 2000


@pytest.fixture(scope="module")
def outcomes():
    return {policies.name: fleet.run(policies, CLIENTS) for policies in fleet.FLEETS}


@pytest.fixture
def ours(outcomes):
    return outcomes["all policies"]


def test_a_fleet_comes_back_without_a_second_outage(ours):
    assert ours.return_peak <= fleet.HEADROOM * ours.calm
    assert ours.refused == 0


def test_jitter_spreads_the_return_out(outcomes, ours):
    herd = outcomes["without jitter"]
    assert herd.return_peak >= 2 * ours.return_peak
    assert herd.refused >= CLIENTS / 10


def test_the_retry_budget_stops_the_calls_of_an_outage_from_multiplying(outcomes, ours):
    assert outcomes["without retry budget"].calls >= 1.5 * ours.calls
    assert outcomes["without retry budget"].calm == ours.calm


def test_the_pace_rests_all_polls_of_a_map_together(outcomes, ours):
    assert outcomes["without pace"].maps >= 3 * ours.maps
    assert ours.maps > 0


def test_the_same_seed_gives_the_same_figures(ours):
    assert fleet.run(fleet.ALL, CLIENTS) == ours
