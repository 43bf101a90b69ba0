"""The pages of the commands: current, and every example on them runs."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from support.command_line import SECONDS, environment, flow, json_lines
from support.documents import ROOT, blocks_of

from codegen.cli_reference import files
from flow_client import PlatformClient, PlatformNotFoundError
from flow_client.cli.program import program

SCHEMA_FILE = ROOT / "docs" / "cli" / "output.schema.json"
SCHEMA = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
PROFILE = """
[staging]
base_url = "https://staging.example.com"
nats_url = "nats://user:canary@nats.example.com"
auth_token_command = "vault canary"
"""
HANDLER = "def handler(task):\n    return task.input_data\n"


def examples():
    """Return all examples, each with its command."""
    found = []
    for name in program.list_commands(None):
        command = program.get_command(None, name)
        members = getattr(command, "commands", {name: command})
        found += [(each, line) for each, member in members.items() for _, line in member.examples]
    return found


SLOW = ("local start", "local token")
QUICK = [
    line
    for _, line in examples()
    if not any(name in line for name in SLOW) and line != "flow-client worker package.module:handler"
]


@pytest.fixture(scope="module")
def execution_ids(platform):
    """Two executions that have ended."""
    with platform.client() as client:
        handles = [client.submit_workflow_execution("echo", {"text": "to be"}) for _ in range(2)]
        return [handle.wait(SECONDS).execution_id for handle in handles]


@pytest.fixture
def shell(at_platform, execution_ids, tmp_path, components):
    """Runs a command line as a reader of the pages would, and returns the finished process."""
    (tmp_path / "input.json").write_text('{"name": "Ada"}')
    (tmp_path / "inputs.jsonl").write_text('{"text": "to be"}\n{"text": "or not to be"}\n')
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(HANDLER)
    (tmp_path / "flow-client").mkdir()
    (tmp_path / "flow-client" / "config.toml").write_text(PROFILE)
    for file in components.parent.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    ids = dict(zip(("ID", "ID2"), execution_ids, strict=True))
    variables = environment(**ids, PATH=path, XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=str(tmp_path))

    def run(line):
        return subprocess.run(
            ["bash", "-eu", "-c", line],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=tmp_path,
            env=variables,
        )

    run.variables, run.folder = variables, tmp_path
    return run


@pytest.mark.parametrize(("path", "text"), files().items(), ids=lambda value: getattr(value, "name", ""))
def test_the_pages_are_what_the_commands_say(path, text):
    assert path.read_text(encoding="utf-8") == text, "run `make codegen`"


def test_no_page_is_left_over():
    written = {path for folder in ("cli", "man") for path in (ROOT / "docs" / folder).iterdir()}
    assert written - set(files()) == {SCHEMA_FILE}


@pytest.mark.parametrize("block", blocks_of("docs/cli.md"), ids=lambda block: block.language)
def test_what_the_page_of_the_conventions_shows_runs(shell, block):
    done = shell(block.text if block.language == "sh" else f"{sys.executable} -c {shlex.quote(block.text)}")
    assert (done.returncode, done.stdout != "") == (0, True), done.stderr


@pytest.mark.parametrize("line", QUICK)
def test_every_example_runs(shell, line):
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_the_examples_of_a_local_platform_run(shell):
    start, token = [line for command, line in examples() if command in ("start", "token")]
    with subprocess.Popen(
        ["bash", "-c", f"exec {start} --store store"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=shell.folder,
        env=shell.variables,
    ) as platform:
        said = [platform.stdout.readline() for _ in range(2)]
        assert said[0].startswith("# The platform listens on http://127.0.0.1:")
        url = re.search(r"PLATFORM_API_URL=(\S+)", said[1])[1]
        names = {"org_id": "local-org", "workspace_id": "local-workspace"}
        with PlatformClient(url, shell(token).stdout.strip(), **names) as client, pytest.raises(PlatformNotFoundError):
            client.get_execution_status("none")
        platform.send_signal(signal.SIGINT)
        assert platform.wait(SECONDS) == 0


def test_the_example_of_a_worker_asks_for_its_execution(shell):
    done = shell("flow-client worker package.module:handler")
    assert (done.returncode, "EXECUTION_ID" in done.stderr) == (64, True)


def test_each_manual_page_is_one(shell):
    """What `man` itself says of it: a page that it cannot read has warnings."""
    roff = shutil.which("groff")
    for path in [path for path in files() if path.suffix == ".1"]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n.SH ") >= 4
        if roff:
            done = subprocess.run(
                [roff, "-man", "-ww", "-Tutf8", "-z", path], capture_output=True, text=True, timeout=SECONDS, check=True
            )
            assert done.stderr == ""


def test_what_json_prints_is_what_the_schema_says(at_platform):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    run = flow("run", "workflow", "fail", "--json")
    (execution,) = json_lines(run.stdout)
    printed = [
        run,
        flow("run", "code-block", "chatter", "--watch", "--json"),
        flow("run", "workflow", "echo", "--detach", "--json"),
        flow("run", "transform", "total", "--input", "[1]", "--json"),
        flow("status", execution["execution_id"], "nobody", "--json"),
        flow("cancel", execution["execution_id"], "--json"),
        flow("skills", "search", "--json"),
        flow("config", "show", "--json"),
        flow("logs", execution["execution_id"], "--json"),
        flow("list", "--limit", "3", "--json"),
        flow("doctor", "--json"),
        flow("map", "workflow", "echo", "--inputs", "-", "--key", "schema", stdin='{"a": 1}'),
    ]
    lines = [line for done in printed for line in json_lines(done.stdout)]
    for line in lines:
        validator.validate(line)
    assert {line["$schema"].split("/")[1] for line in lines} == set(SCHEMA["$defs"])
