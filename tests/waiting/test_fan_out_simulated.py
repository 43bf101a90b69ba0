"""Thousands of futures on a virtual clock, with the client's own dispatcher, queue and pace."""

import math

import pytest
from support.size import few

from benchmarks.simulation import Platform, SimulatedClient, SimulatedHints, World, late, run
from flow_client._waiting.lanes import MOST_LANES


def short(numbers):
    return numbers.uniform(0.2, 2)


def minute(numbers):
    return numbers.lognormvariate(math.log(60), 0.3)


def simulated(count, sample, *, over=0.0, is_hinted=False, most=1000, is_learning=True, **platform):
    """Return the client and its platform after so many executions, begun within some seconds."""
    world = World()
    there = Platform(world, **platform)
    hints = SimulatedHints() if is_hinted else None
    client = SimulatedClient(world, there, most=most, hints=hints, is_learning=is_learning)
    for number in range(count):
        begin = lambda number=number: client.watch(f"e-{number}", sample(world.random), is_hinted=is_hinted)  # noqa: E731
        world.at(over * number / count, begin)
    run(world, [client], count)
    return client, there


@pytest.mark.parametrize(("round_trip", "p50", "p95"), [(0.001, 0.005, 0.06), (0.02, 0.03, 0.15)])
def test_hints_are_followed_within_milliseconds(round_trip, p50, p95):
    client, platform = simulated(1000, short, is_hinted=True, round_trip=round_trip)
    assert late(client)[0] <= p50
    assert late(client)[1] <= p95
    assert len(platform.answered) <= 1300


@pytest.mark.parametrize(("round_trip", "p50", "p95"), [(0.001, 0.4, 1.0), (0.02, 0.54, 1.1), (0.1, 3.2, 5.9)])
def test_without_hints_a_thousand_short_executions_are_seen_within_a_second(round_trip, p50, p95):
    client, platform = simulated(1000, short, round_trip=round_trip)
    assert late(client)[0] <= p50
    assert late(client)[1] <= p95
    assert len(platform.answered) <= 3000


@pytest.mark.parametrize("is_hinted", [False, True])
def test_a_platform_that_refuses_more_than_200_a_second_refuses_twice_and_is_left_alone_when_it_asks(is_hinted):
    client, platform = simulated(1000, short, is_hinted=is_hinted, allowed=200)
    assert len(platform.refused) <= 4
    assert platform.early == 0
    assert client.world.now <= 9


def test_a_slow_platform_has_no_more_requests_at_once_than_there_are_lanes():
    """It serves 200 a second. A thousand executions need five seconds, whatever is sent."""
    client, _ = simulated(1000, short, slots=4, service=0.02)
    assert max(client.lanes_used) <= MOST_LANES
    assert client.world.now <= 9


@pytest.mark.soak
def test_two_thousand_of_a_minute_cost_no_more_than_250_requests_a_second():
    client, platform = simulated(few(1000, of=2000), lambda _: 60.0, over=2)
    assert len(platform.answered) / client.world.now <= 250
    assert late(client)[1] <= 9


@pytest.mark.soak
@pytest.mark.parametrize(("most", "better"), [(5, 1.3), (2, 1.6)])
def test_the_order_by_durations_beats_the_oldest_first(most, better):
    """60 in flight, and many times fewer polls than would be needed."""
    lateness, count = {}, few(300, of=3000)
    for is_learning in (True, False):
        client, _ = simulated(count, minute, over=count, most=most, is_learning=is_learning)
        lateness[is_learning] = sum(client.lateness) / len(client.lateness)
    assert lateness[True] * better < lateness[False]


def test_two_clients_share_a_limit_fairly():
    world = World()
    platform = Platform(world, allowed=100)
    clients = [SimulatedClient(world, platform) for _ in range(2)]
    for number, client in enumerate(clients):
        for each in range(500):
            begin = lambda client=client, name=f"{number}-{each}": client.watch(name, world.random.uniform(30, 50))  # noqa: E731
            world.at(0.3 * number, begin)
    run(world, clients, 1000)
    shares = [client.pace.requests - client.pace.refusals for client in clients]
    assert sum(shares) ** 2 / (2 * sum(share**2 for share in shares)) >= 0.95
    assert platform.early == 0
