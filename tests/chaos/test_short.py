"""Servers that are killed, frozen and cut off lose, repeat and reorder nothing: a short form of `make chaos`."""

import random

import pytest
from chaos.scenes import Cluster, Server, perform
from support.jetstream import MODES

FREEZE_SECONDS = 1.5


def _assert_clean(findings):
    assert (findings.lost, findings.repeated, findings.reordered) == (0, 0, 0)
    assert findings.notes == []
    assert findings.events > 100


@pytest.mark.parametrize("mode", MODES)
def test_kills_freezes_and_cuts_lose_repeat_and_reorder_nothing(tmp_path, mode):
    with Server(tmp_path, mode, relayed=True) as server:
        faults = [server.kill] * 3 + [lambda: server.freeze(FREEZE_SECONDS)] * 2 + [server.cut] * 5
        random.shuffle(faults)
        found = perform(server, faults, references=False)
    _assert_clean(found["ours"])


def test_leaders_that_hand_over_and_die_lose_repeat_and_reorder_nothing(tmp_path):
    with Cluster(tmp_path, "batch") as cluster:
        found = perform(cluster, [cluster.step_down] * 3 + [cluster.kill_leader], references=False)
    _assert_clean(found["ours"])
