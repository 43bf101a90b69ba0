"""Executions that wait for executions that they submitted: none starves, and none floods the machine."""

from functools import partial

import pytest
from support.jetstream import read_execution_ids
from support.size import few

from flow_client.local import LocalPlatform, tokens
from flow_client.local.state.dispatch import LEVELS

PARENTS = 5

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=[1, 4], ids="{} at a time".format)
def platform(components, request):
    with LocalPlatform(components, max_workers=request.param) as platform:
        yield platform


@pytest.fixture
def client(platform):
    with platform.client() as client:
        yield client


def outputs(handles):
    records = [handle.wait(timeout=150) for handle in handles]
    return [record.output if record.is_completed else (record.status, record.error) for record in records]


@pytest.mark.soak
@pytest.mark.parametrize("levels", few([3], of=[2, 3]))
def test_more_parents_than_slots_all_get_their_childrens_results(platform, client, levels):
    submit = partial(client.submit_workflow_execution, "nest", {"levels": levels}, ring_id=platform.ring_id)
    assert outputs([submit() for _ in range(PARENTS)]) == [levels] * PARENTS


def test_more_parents_than_slots_all_get_their_inline_results(platform, client):
    submit = partial(client.submit_code_block_execution, "add-inline", {"numbers": [1, 2]}, ring_id=platform.ring_id)
    assert outputs([submit() for _ in range(PARENTS)]) == [3] * PARENTS


def test_two_runners_on_a_ring_share_the_levels(components, nats_server):
    with (
        LocalPlatform(components, nats_url=nats_server.url, max_workers=1) as one,
        LocalPlatform(components, nats_url=nats_server.url, max_workers=1),
        one.client() as client,
    ):
        submit = partial(client.submit_workflow_execution, "nest", {"levels": 3}, ring_id=one.ring_id)
        assert outputs([submit() for _ in range(4)]) == [3] * 4


def test_a_component_that_submits_itself_without_end_is_refused_at_a_bound(components):
    with LocalPlatform(components, max_workers=1) as platform, platform.client() as client:
        record = client.execute_workflow("nest", {"levels": LEVELS + 5}, ring_id=platform.ring_id)
        started = len(read_execution_ids(platform.nats_url))
    assert record.status == "failed"
    assert f"Executions can be nested {LEVELS} levels deep" in record.error["message"]
    assert started == LEVELS


@pytest.mark.soak
def test_a_flood_never_runs_more_than_the_limit(components, tmp_path):
    count = few(20, of=100)
    with LocalPlatform(components, max_workers=4) as platform, platform.client() as client:
        submit = partial(client.submit_workflow_execution, "crowd", {"folder": str(tmp_path)}, ring_id=platform.ring_id)
        seen = outputs([submit() for _ in range(count)])
    assert len(seen) == count
    assert max(seen) <= 4


def test_a_renewed_token_of_a_worker_keeps_its_level():
    key = "k" * 32
    token = tokens.issue(key, "org", "workspace", 60, level=3)
    assert tokens.verify(key, tokens.renew(key, tokens.verify(key, token))).level == 3
