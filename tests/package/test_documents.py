"""Everything that docs/client.md and docs/workers.md show is run, on a platform with their own components."""

import json
import os
import re
import subprocess
import sys
import uuid

import pytest
from support.bus import Bus
from support.documents import blocks_of, find, starts_of

from flow_client import PlatformClient
from flow_client.local import LocalPlatform

CLIENT = blocks_of("docs/client.md")
WORKERS = blocks_of("docs/workers.md")
RETURNING = find(WORKERS, "from flow_client.worker import Result, Task\n")
YIELDING = find(WORKERS, "def handler(task):\n    words = []\n")
TEXTS = ["to be", "or not to be"]

COMPONENTS = """
def count_words(task):
    return {"words": len(task.input_data["text"].split())}

def merge(task):
    return sorted(task.input_data)

def report(task):
    for text in task.input_data["texts"]:
        task.emit("message", {"text": text})
"""
MANIFEST = """
component = [
    {kind = "code_block", id = "count-words", handler = "components:count_words"},
    {kind = "transform", id = "merge", handler = "components:merge"},
    {kind = "workflow", id = "report", handler = "components:report"},
    {kind = "agent", id = "returning", handler = "returning:handler"},
    {kind = "agent", id = "yielding", handler = "yielding:handler"},
]
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the components of the examples, the two handlers of docs/workers.md among them."""
    folder = tmp_path_factory.mktemp("documents")
    texts = {
        "components.py": COMPONENTS,
        "components.toml": MANIFEST,
        "returning.py": RETURNING.text,
        "yielding.py": YIELDING.text,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def platform(folder):
    with LocalPlatform(folder / "components.toml") as platform:
        yield platform


@pytest.fixture
def client(platform):
    with platform.client() as client:
        yield client


def run(block, **names):
    """Run a block of Python with the names that the text before it explains, and return all names."""
    exec(compile(block.text, f"<{block.text.splitlines()[0]}>", "exec"), names)
    return names


# --- docs/client.md


def test_profiles(tmp_path, monkeypatch):
    """With a token file, and a command of that name that prints a token."""
    folder = tmp_path / ".config" / "flow-client"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(find(CLIENT, "[default]\n").text, encoding="utf-8")
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text("t-1", encoding="utf-8")
    (tmp_path / "vault").touch(mode=0o700)
    (tmp_path / "vault").write_text("#!/bin/sh\necho t-2\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with PlatformClient() as default, PlatformClient(profile="staging") as staging:
        assert (default.settings.base_url, default.settings.ring_id) == ("https://flow.example.com", "ring-1")
        assert (staging.settings.base_url, staging.settings.ring_id) == ("https://staging.example.com", None)


def test_futures(client, capsys):
    handles = [client.submit_code_block_execution("count-words", {"text": text}) for text in TEXTS]
    run(find(CLIENT, "from concurrent.futures import"), client=client, handles=handles)
    assert capsys.readouterr().out == "completed\n" * 2


def test_batches(client, capsys):
    """The blocks of one section go on with the names of those before."""
    names = run(find(CLIENT, "from datetime import"), client=client, texts=TEXTS)
    assert capsys.readouterr().out == "{'words': 2}\n{'words': 4}\n"

    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    names = run(find(CLIENT, "today = "), **names, rows=rows)
    assert [record.output["words"] for record in names["records"]] == [2, 4]

    block = find(CLIENT, "batch = ")
    names = run(block, **{**names, "inputs": [{"text": text} for text in TEXTS], "key": str(uuid.uuid4())})
    shown = block.text.splitlines()[-1].removeprefix("# ")
    printed = capsys.readouterr().out.strip()
    assert printed == "2 inputs: 2 started, 0 resumed; 2 completed, 0 failed, 0 errors, 0 unfinished"
    assert re.sub(r"\d+", "N", shown).replace(" (N again)", "") == re.sub(r"\d+", "N", printed)

    names = run(find(CLIENT, "import pandas"), **names)
    assert [output["words"] for output in names["table"]["output"]] == [2, 4]
    assert (names["table"]["duration"] > 0).all()


def test_events_while_it_runs(client, capsys):
    names = run(find(CLIENT, "record = client.execute_workflow"), client=client, texts=TEXTS)
    assert names["record"].status == "completed"
    assert capsys.readouterr().out == "".join(f"{{'text': '{text}'}}\n" for text in TEXTS)


def test_the_tools_that_intercept_requests(make_client, http_server, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {
        "PlatformClient": PlatformClient,
        "report": lambda client, given: client.get_execution_status(given).output,
    }
    names = run(find(CLIENT, "import responses"), **names)
    names["test_report"]()
    flow = make_client(base_url="https://flow.example.com", org_id="o", workspace_id="w")
    names = run(find(CLIENT, "import requests_mock"), **names, client=flow)
    http_server.default.body["output"] = 7
    for _ in ("recorded", "played"):
        names = run(find(CLIENT, "import vcr"), **{**names, "client": make_client()})
    assert len(http_server.received) == 1


# --- docs/workers.md


def test_the_bridge(platform, monkeypatch):
    execution_id, bus = str(uuid.uuid4()), Bus(platform.nats_url)
    bus.put_input(execution_id)
    monkeypatch.setenv("NATS_URL", platform.nats_url)
    run(find(WORKERS, "from flow_client import NatsBridge"), execution_id=execution_id, deployment_id=None)
    assert [event["event_data"] for event in bus.events(execution_id)] == [{"text": "working"}]
    assert [output["output"] for output in bus.outputs(execution_id)] == [{"words": 7}]


@pytest.mark.parametrize(
    ("agent", "given", "output", "chunks"),
    [
        ("returning", {"two": 2, "one": 1}, ["one", "two"], ["thinking"]),
        ("yielding", {"text": "to be"}, {"words": 2}, ["to", "be"]),
    ],
)
def test_the_handlers(client, platform, agent, given, output, chunks):
    record = client.execute_agent(agent, given, None, execution_mode="isolated", check=True)
    assert record.output == output
    events = Bus(platform.nats_url).events(record.execution_id)
    assert [(event["event_type"], event["event_data"]["text"]) for event in events] == [("chunk", c) for c in chunks]


def test_a_handler_without_a_platform(folder):
    (command,) = find(WORKERS, "python -m flow_client.worker").commands
    handler = command.index("package.module:handler")
    done = subprocess.run(
        [sys.executable, *command[1:handler], "yielding:handler", *command[handler + 1 :]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *events, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event_data"]["text"] for event in events] == ["to", "be", "or", "not", "to", "be"]
    assert last["output"] == {"words": 6}


def test_a_test_of_a_handler():
    run(find(WORKERS, "from flow_client.worker import Task\n"))["test_handler"]()


# --- both


def test_no_block_is_left_out():
    """A new block has to be run by a test above."""
    known = {
        "docs/client.md": [
            *("[default]\n", "from concurrent.futures import", "from datetime import", "today = ", "batch = "),
            *("record = client.execute_workflow", "import pandas"),
            *("import responses", "import requests_mock", "import vcr"),
        ],
        "docs/workers.md": [
            *("from flow_client import NatsBridge", "from flow_client.worker import Result, Task\n"),
            *("def handler(task):\n", "python -m flow_client.worker", "from flow_client.worker import Task\n"),
        ],
    }
    for document, starts in known.items():
        assert starts_of(document, starts) == starts
