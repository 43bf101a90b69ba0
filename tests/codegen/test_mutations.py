"""Hundreds of specifications that say the same differently give the same lock, and a client that works."""

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.live_platforms import COMPONENT, ORG, WORKSPACE, served, typed
from support.mutations import MUTATIONS, mutated
from support.size import few
from support.specifications import live, locked, refreshed

CALLER = Path(__file__).parent / "programs" / "caller.py"
EXAMPLES = int(os.environ.get("MUTATIONS", few(40, of=300)))


@pytest.mark.soak
@pytest.mark.timeout(600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MUTATIONS" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    mutations=st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 2**32),
)
def test_a_specification_that_means_the_same_gives_the_same_lock(mutations, seed):
    document = mutated(live(), mutations, random.Random(seed))
    # With the keys in order, which is what is written.
    assert json.dumps(refreshed(document, locked())) == json.dumps(locked())


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(few(1, of=8)))
def test_a_first_refresh_from_a_mutated_specification_gives_a_client_that_works(package, seed):
    generator = random.Random(seed)
    app, _ = typed()
    document = mutated(app.openapi(), generator.sample(MUTATIONS, 6), generator)
    app.openapi = lambda: document
    with served(app) as url:
        assert package.with_code().codegen("--spec", f"{url}/openapi.json") == 0
        found = package.run(CALLER, url, ORG, WORKSPACE, COMPONENT)
    assert found["record"] == ["ExecutionRecord", "completed", True, {"n": 1}, "eu"]
    assert {"ExecutionRecord", "ExecutionAccepted", "ExecutionInput"} < {*found["models"]}
