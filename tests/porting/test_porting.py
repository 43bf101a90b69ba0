"""Scripts of the async client run with `await` deleted, word for word, and docs/porting.md is run.

Each script runs twice on one platform: as it is on a small async client whose answers are dicts, and on ours. What it
prints, and what it says over NATS, must be the same. Only the module that it imports from is another one.
"""

import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import jwt
import pytest
from support.bus import Bus
from support.size import few

from flow_client import PlatformClient

PROGRAMS = Path(__file__).parent / "programs" / "async_style"
TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "porting.md").read_text(encoding="utf-8")
SECONDS = 60

pytestmark = pytest.mark.timeout(120)


def without_await(source):
    """Delete `await`, and `async` but for the outermost function's, which `asyncio.run` runs."""
    return re.sub(r"\bawait |\basync (?=with\b|def (?!main\())", "", source)


def by_the_page(source):
    """Do to a script what docs/porting.md tells its readers to do: a command that deletes words."""
    (script,) = re.findall(r"^perl -pe '(.*)' ", PAGE, re.MULTILINE)
    command = ["perl", "-pe", script]
    return subprocess.run(command, input=source, capture_output=True, text=True, timeout=10, check=True).stdout


PORTS = (without_await, by_the_page)


def token_about_to_end(platform):
    """Return a token that the platform renews with its next answer."""
    key, now = platform._running_settings.signing_key, time.time()
    claims = jwt.decode(platform.auth_token, key, algorithms=["HS256"])
    return jwt.encode({**claims, "iat": now - 1000, "exp": now + 100}, key, algorithm="HS256")


@pytest.fixture
def run(platform, tmp_path):
    """Runs a script on the async client (`support.async_client`) or on ours (`flow_client`); returns what it prints."""

    def run(source, module="flow_client", **variables):
        (tmp_path / "platform_client.py").write_text(f"from {module} import *\n", encoding="utf-8")
        (tmp_path / "token.txt").write_text(token_about_to_end(platform), encoding="utf-8")
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


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "ports"), [("submit_and_wait", PORTS), ("components_and_skills", few([by_the_page], of=PORTS))]
)
def test_a_script_prints_the_same_without_await(run, name, ports):
    source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    printed = run(source, "support.async_client")
    for port in ports:
        assert run(port(source), "flow_client") == printed


@pytest.mark.parametrize(
    "given", [b"{}", b'{"input_data": {"text": "to be"}, "state": {"runs": 4}, "config": {"a": 1}, "new": null}']
)
def test_a_worker_says_the_same_without_await(run, platform, given):
    source = (PROGRAMS / "worker.py").read_text(encoding="utf-8")
    expected, *ported = (said_by(run, platform, given, *script) for script in scripts_of(source))
    assert ported == [expected] * len(PORTS)
    assert expected[0].startswith("['")


def scripts_of(source):
    return [(source, "support.async_client"), *((port(source), "flow_client") for port in PORTS)]


def said_by(run, platform, given, source, module):
    """Return what a worker prints, and what it says over NATS but for the times."""
    execution_id = str(uuid.uuid4())
    bus = Bus(platform.nats_url)
    bus.put_input(execution_id, given)
    printed = run(source, module, EXECUTION_ID=execution_id, DEPLOYMENT_ID="dep-1")
    stored = [m.json for kind in ("output", "events", "status") for m in bus.stored(f"exec.{kind}.{execution_id}")]
    assert {payload.pop("execution_id") for payload in stored} == {execution_id}
    assert all(payload.pop("timestamp") for payload in stored)
    return printed, stored


# --- docs/porting.md


BLOCKS = re.findall(r"^```python\n# (before|after): (\w+)\.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BEFORE, AFTER = ({name: text for when, name, text in BLOCKS if when == side} for side in ("before", "after"))
PRINTS = {
    "report": "completed 6\n",
    "fan_out": "[2, 4, 4] [3, 5, 5]\n",
    "patience": "cancelled\n",
    "inside": "6 words None\n",
    "renew": "{'words': 2} renewed\n",
    "skills": "0 skills\nversion 3: 404\n",
}


@pytest.mark.parametrize("name", PRINTS)
def test_the_pages_scripts_print_the_same(run, platform, name):
    for source, module in ((BEFORE[name], "support.async_client"), (AFTER[name], "nowhere")):
        execution_id = str(uuid.uuid4())
        Bus(platform.nats_url).put_input(execution_id, b'{"input_data": {"text": "to be or not to be"}}')
        assert run(source, module, EXECUTION_ID=execution_id, DEPLOYMENT_ID="dep-1") == PRINTS[name]


@pytest.mark.parametrize("name", sorted({*PRINTS} - {"fan_out", "patience"}))
def test_the_pages_command_makes_what_the_page_shows(name):
    made = by_the_page(BEFORE[name]).replace("import asyncio\n", "").lstrip("\n")
    assert re.sub(r"\n{2,}", "\n", made) == re.sub(r"\n{2,}", "\n", AFTER[name])


def test_the_page_has_every_script_and_no_other():
    assert list(BEFORE) == list(AFTER) == list(PRINTS)
    assert PAGE.count("```python") == 2 * len(PRINTS)


def test_the_page_has_all_21_members():
    section = PAGE.partition("## Each method\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| async |")]
    assert len(rows) == 21
    named = {name for row in rows for name in re.findall(r"client\.(\w+)\(", row)}
    assert all(callable(getattr(PlatformClient, name)) for name in named)
    assert len(named) == 17  # the others are the constructor, `async with`, its end, and execute_agent's second mode
