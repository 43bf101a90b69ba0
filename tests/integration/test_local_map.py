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
from support.jetstream import read_execution_ids

from flow_client.local import LocalPlatform

SCRIPT = Path(__file__).parent / "programs" / "nightly.py"
INPUTS = 24
KILLS = 20


@pytest.fixture
def platform(components):
    with LocalPlatform(components) as platform:
        yield platform


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


def test_a_script_killed_at_random_moments_starts_no_execution_twice(platform, tmp_path):
    chance = random.Random(7)
    results = tmp_path / "results.json"
    killed = 0
    for number in range(KILLS):
        with start(platform, results) as script:
            assert script.stdout.readline() == "begun\n"
            # Later and later: from the first submission to the last results.
            time.sleep(chance.uniform(0, 0.05 + 0.06 * number))
            killed += script.poll() is None
            script.kill()
    assert killed >= KILLS / 2
    with start(platform, results) as script:
        assert script.wait(timeout=60) == 0
    assert json.loads(results.read_text()) == [{"words": number} for number in range(INPUTS)]
    assert len(read_execution_ids(platform.nats_url)) == INPUTS


def test_an_interrupted_map_is_taken_up_by_another_client(platform):
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "count-words", ring_id=platform.ring_id)
        records = client.map(submit, ({"text": "a " * n} for n in range(6)), key="batch", max_in_flight=3)
        assert next(records).output == {"words": 0}
        records.close()
    with platform.client() as client:
        submit = partial(client.submit_code_block_execution, "count-words", ring_id=platform.ring_id)
        records = client.map(submit, ({"text": "a " * n} for n in range(6)), key="batch")
        assert [record.output["words"] for record in records] == list(range(6))
    assert len(read_execution_ids(platform.nats_url)) == 6
