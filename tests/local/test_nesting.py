"""Executions that wait for executions that they submitted: none starves, and none floods the machine."""

from functools import partial

import pytest
from support.jetstream import read_execution_ids
from support.size import few

from flow_client.local import LocalPlatform, tokens
from flow_client.local.state.dispatch import LEVELS

SLOTS = (1, 4)
PARENTS = {slots: few(slots + 1, of=5) for slots in SLOTS}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def narrow(components):
    """A platform that runs one execution at a time on each level."""
    with LocalPlatform(components, max_workers=1) as platform:
        yield platform


@pytest.fixture
def client(narrow):
    with narrow.client() as client:
        yield client


@pytest.fixture(params=SLOTS, ids="{} at a time".format)
def crowded(request, narrow, platform):
    """A client of a platform, and more parents than that has slots on a level."""
    with {1: narrow, 4: platform}[request.param].client() as client:
        yield client, PARENTS[request.param]


def outputs(handles):
    records = [handle.wait(timeout=150) for handle in handles]
    return [record.output if record.is_completed else (record.status, record.error) for record in records]


@pytest.mark.soak
@pytest.mark.parametrize("levels", few([3], of=[2, 3]))
def test_more_parents_than_slots_all_get_their_childrens_results(crowded, levels):
    client, parents = crowded
    submit = partial(client.submit_workflow_execution, "nest", {"levels": levels})
    assert outputs([submit() for _ in range(parents)]) == [levels] * parents


@pytest.mark.soak
def test_more_parents_than_slots_all_get_their_inline_results(crowded):
    client, parents = crowded
    submit = partial(client.submit_code_block_execution, "add-inline", {"numbers": [1, 2]})
    assert outputs([submit() for _ in range(parents)]) == [3] * parents


@pytest.mark.soak
def test_two_runners_on_a_ring_share_the_levels(components, narrow, client):
    parents = few(3, of=4)
    with LocalPlatform(components, nats_url=narrow.nats_url, max_workers=1):
        submit = partial(client.submit_workflow_execution, "nest", {"levels": 3})
        assert outputs([submit() for _ in range(parents)]) == [3] * parents


def test_a_component_that_submits_itself_without_end_is_refused_at_a_bound(narrow, client):
    before = len(read_execution_ids(narrow.nats_url))
    record = client.execute_workflow("nest", {"levels": LEVELS + 5})
    assert record.status == "failed"
    assert f"Executions can be nested {LEVELS} levels deep" in record.error["message"]
    assert len(read_execution_ids(narrow.nats_url)) == before + LEVELS


@pytest.mark.soak
def test_a_flood_never_runs_more_than_the_limit(platform, tmp_path):
    count = few(12, of=100)
    with platform.client() as client:
        submit = partial(client.submit_workflow_execution, "crowd", {"folder": str(tmp_path)})
        seen = outputs([submit() for _ in range(count)])
    assert len(seen) == count
    assert max(seen) <= 4


def test_a_renewed_token_of_a_worker_keeps_its_level():
    key = "k" * 32
    token = tokens.issue(key, "org", "workspace", 60, level=3)
    assert tokens.verify(key, tokens.renew(key, tokens.verify(key, token))).level == 3
