"""Cut connections between a caller and the local platform: no job is lost, and none runs twice."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.proxy import Cut, CuttingProxy
from support.size import few

import flow_client

JOBS = few(12, of=100)
CUTS = few(60, of=500)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def proxy(platform):
    with CuttingProxy(int(platform.base_url.rpartition(":")[2])) as proxy:
        yield proxy


def random_cuts(number, seed):
    chance = random.Random(seed)
    longest = {"request": 500, "response": 200}
    for _ in range(number):
        direction = chance.choice(list(longest))
        yield Cut(direction, chance.randrange(longest[direction]), chance.choice(["fin", "rst"]))


@pytest.mark.soak
def test_no_job_is_lost_or_run_twice_over_hundreds_of_cuts(platform, proxy, started):
    """Callers submit again, with the key of the error, until they have an answer."""
    proxy.cuts.extend(random_cuts(CUTS, seed=7))

    errors = []

    def submit(client, number, key):
        try:
            text = "word " * number
            handle = client.submit_code_block_execution(
                "count-words", {"text": text}, ring_id=platform.ring_id, idempotency_key=key
            )
        except flow_client.PlatformConnectionError as error:
            errors.append(error)
            return None, error.idempotency_key
        return handle.execution_id, key

    def job(number):
        execution_id = key = None
        with platform.client(base_url=proxy.url, max_attempts=1, timeout=60) as client:
            while execution_id is None:
                execution_id, key = submit(client, number, key)
        return execution_id

    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(job, range(JOBS)))
    assert not proxy.cuts
    assert len(errors) >= 0.9 * CUTS  # some were to come behind the last byte
    assert len(set(submitted)) == JOBS
    assert sorted(started()) == sorted(submitted)
    with platform.client() as client:
        records = [client.await_execution_result(each, timeout_seconds=150) for each in submitted]
    assert {record.status for record in records} == {"completed"}


@pytest.mark.soak
def test_the_clients_own_attempts_start_a_job_once(platform, proxy, started):
    submitted = []
    for cut in random_cuts(few(10, of=20), seed=11):
        proxy.cuts.append(cut)
        with platform.client(base_url=proxy.url) as client:
            handle = client.submit_code_block_execution("count-words", {"text": "a b"}, ring_id=platform.ring_id)
        submitted.append(handle.execution_id)
    assert sorted(started()) == sorted(submitted)
