"""Scripts of the async client run with `await` deleted, word for word, and docs/porting.md is run.

Each script runs twice on one platform: as it is on a small async client whose answers are dicts, and on ours. What it
prints, and what it says over NATS, must be the same. Only the module that it imports from is another one.
"""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support.bus import Bus

from flow_client.local import LocalPlatform

PROGRAMS = Path(__file__).parent / "programs" / "async_style"
TESTS = Path(__file__).parents[1]
SECONDS = 60

pytestmark = pytest.mark.timeout(120)


def without_await(source):
    """Delete `await`, and `async` but for the outermost function's, which `asyncio.run` runs."""
    return re.sub(r"\bawait |\basync (?=with\b|def (?!main\())", "", source)


def without_asyncio(source):
    """Delete `await` and `async` everywhere, and call the outermost function."""
    return re.sub(r"\bawait |\basync (?=with\b|def\b)", "", source.replace("asyncio.run(main())", "main()"))


@pytest.fixture(scope="module")
def platform(components):
    with LocalPlatform(components) as platform:
        yield platform


@pytest.fixture
def run(platform, tmp_path):
    """Runs a script on the async client (`support.async_client`) or on ours (`flow_client`); returns what it prints."""

    def run(source, module, **variables):
        (tmp_path / "platform_client.py").write_text(f"from {module} import *\n", encoding="utf-8")
        (tmp_path / "script.py").write_text(source, encoding="utf-8")
        path = os.pathsep.join([str(tmp_path), str(TESTS), str(TESTS.parent)])
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, **platform.environment(), "PYTHONPATH": path, **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("delete", [without_await, without_asyncio])
@pytest.mark.parametrize("name", ["submit_and_wait", "components_and_skills"])
def test_a_script_prints_the_same_without_await(run, name, delete):
    source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    assert run(delete(source), "flow_client") == run(source, "support.async_client")


@pytest.mark.parametrize("delete", [without_await, without_asyncio])
@pytest.mark.parametrize(
    "given", [b"{}", b'{"input_data": {"text": "to be"}, "state": {"runs": 4}, "config": {"a": 1}, "new": null}']
)
def test_a_worker_says_the_same_without_await(run, platform, given, delete):
    source = (PROGRAMS / "worker.py").read_text(encoding="utf-8")
    bus = Bus(platform.nats_url)
    said = []
    for text, module in ((source, "support.async_client"), (delete(source), "flow_client")):
        execution_id = str(uuid.uuid4())
        bus.put_input(execution_id, given)
        printed = run(text, module, EXECUTION_ID=execution_id, DEPLOYMENT_ID="dep-1")
        kinds = ("output", "events", "status")
        stored = [message.json for kind in kinds for message in bus.stored(f"exec.{kind}.{execution_id}")]
        assert {payload.pop("execution_id") for payload in stored} == {execution_id}
        assert all(payload.pop("timestamp") for payload in stored)
        said.append((printed, stored))
    assert said[0] == said[1]
