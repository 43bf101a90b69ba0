"""A batch on the local platform whose script is killed again and again: every input has one execution."""

import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from support.size import few

from flow_client import PlatformBadRequestError

SCRIPT = Path(__file__).parent / "programs" / "nightly.py"
INPUTS = few(9, of=24)
KILLS = few(4, of=20)


def start(platform, results):
    variables = {
        "PLATFORM_API_URL": platform.base_url,
        "AUTH_TOKEN": platform.issue_token(),
        "ORG_ID": platform.org_id,
        "WORKSPACE_ID": platform.workspace_id,
    }
    return subprocess.Popen(
        [sys.executable, SCRIPT, platform.ring_id, str(INPUTS), results],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_script_killed_at_random_moments_starts_no_execution_twice(platform, started, tmp_path):
    chance = random.Random(7)
    results = tmp_path / "results.json"
    killed = 0
    for _ in range(KILLS):
        with start(platform, results) as script:
            # From the first submission to the last records.
            for _ in range(chance.randint(1, 2 * INPUTS - 1)):
                assert script.stdout.readline() == "one more\n"
            time.sleep(chance.uniform(0, 0.02))
            killed += script.poll() is None
            script.kill()
    assert killed >= KILLS / 2
    with start(platform, results) as script:
        assert script.wait(timeout=60) == 0
    assert json.loads(results.read_text()) == [{"words": number} for number in range(INPUTS)]
    assert len(started()) == INPUTS


def test_an_interrupted_map_is_taken_up_by_another_client(platform, started):
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "count-words", ring_id=platform.ring_id)
        records = client.map(submit, ({"text": "a " * n} for n in range(6)), key="batch", max_in_flight=3)
        assert next(records).output == {"words": 0}
        records.close()
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "count-words", ring_id=platform.ring_id)
        records = client.map(submit, ({"text": "a " * n} for n in range(6)), key="batch")
        assert [record.output["words"] for record in records] == list(range(6))
    assert len(started()) == 6


def test_what_failed_is_run_again_once_it_is_mended_and_the_rest_is_left_alone(platform, started, tmp_path):
    inputs = [{"number": number, "mended": str(tmp_path / "mended")} for number in range(6)]
    statuses, counts = [], []
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "flaky", ring_id=platform.ring_id)
        for run in range(4):
            if run == 2:
                (tmp_path / "mended").touch()
            batch = client.map(submit, inputs, key=lambda item: f"night-{item['number']}", retry_failed=True)
            statuses.append([record.status[0] for record in batch])
            counts.append((batch.counts.started, batch.counts.resumed, batch.counts.retried))
    assert ["".join(each) for each in statuses] == ["fccfcc", "fccfcc", "cccccc", "cccccc"]
    assert counts == [(6, 0, 0), (2, 4, 2), (2, 4, 2), (0, 6, 0)]
    assert len(started()) == 6 + 2 + 2


def test_a_line_at_the_top_of_the_file_starts_one_execution_with_keys_of_the_inputs(platform):
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "count-words", ring_id=platform.ring_id)
        texts = [{"text": "a " * number} for number in range(5)]
        for inputs in (texts, [{"text": "a " * 9}, *texts]):
            batch = client.map(submit, inputs, key=lambda item: f"night-{len(item['text'])}")
            assert len(list(batch)) == len(inputs)
        assert (batch.counts.started, batch.counts.resumed) == (1, 5)
        list(client.map(submit, texts, key="night"))
        with pytest.raises(PlatformBadRequestError, match=r"^inputs\[0\] is not what an earlier run"):
            list(client.map(submit, [{"text": "b"}, *texts], key="night"))
