"""Servers that are killed, frozen and cut off lose, repeat and reorder nothing: a short form of `make chaos`."""

import random
from functools import partial

import pytest
from chaos.scenes import Cluster, Server, perform
from support.jetstream import MODES
from support.size import few

FREEZE_SECONDS = 1.5


def _assert_clean(findings):
    assert (findings.lost, findings.repeated, findings.reordered) == (0, 0, 0)
    assert findings.notes == []
    assert findings.events > 100


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", MODES)
def test_kills_freezes_and_cuts_lose_repeat_and_reorder_nothing(tmp_path, mode):
    with Server(tmp_path, mode, relayed=True) as server:
        freeze = partial(server.freeze, FREEZE_SECONDS)
        faults = [server.kill] * few(2, of=10) + [freeze] * few(1, of=5) + [server.cut] * few(3, of=20)
        random.shuffle(faults)
        found = perform(server, faults, references=False)
    _assert_clean(found["ours"])


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_leaders_that_hand_over_and_die_lose_repeat_and_reorder_nothing(tmp_path):
    with Cluster(tmp_path, "batch") as cluster:
        faults = [cluster.step_down] * few(2, of=6) + [cluster.kill_leader] * few(1, of=3)
        found = perform(cluster, faults, references=False)
    _assert_clean(found["ours"])
