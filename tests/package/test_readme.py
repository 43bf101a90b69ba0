"""Everything that README and docs/local.md show is run: files are saved, commands started, output compared."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.documents import ROOT, blocks_of, find, starts_of

SECONDS = 100

pytestmark = pytest.mark.timeout(150)


README = blocks_of("README.md")
LOCAL = blocks_of("docs/local.md")


def environment(folder, **more):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **more}


def run(arguments, folder, **more):
    """Run a command in `folder` and return what it printed; it must succeed and say nothing on standard error."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of README's first steps."""
    for block in README:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def start(folder):
    """A function that starts the platform with a document's command and returns the variables that it prints."""
    started = []

    def start(blocks):
        (arguments,) = find(blocks, "python -m flow_client.local").commands
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, exports(process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def exports(process):
    """Return what a shell would have after the printed lines were pasted into it."""
    lines = []
    with_limit = threading.Timer(30, process.kill)
    with_limit.start()
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    with_limit.cancel()
    script = "".join(lines) + f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    printed = subprocess.run(
        ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    variables = json.loads(printed.stdout)
    return {name: variables[name] for name in re.findall(r"^export (\w+)=", "".join(lines), re.MULTILINE)}


# --- README


def test_readmes_script_prints_what_readme_shows_on_readmes_platform_each_time_that_it_runs(start, folder):
    """The batch has a key: the second run takes up the executions of the first."""
    process, variables = start(README)
    script = find(README, "# report.py\n")
    shown = README[README.index(script) + 1]
    assert shown.language == "text"
    for _ in range(2):
        assert run([sys.executable, script.file], folder, **variables) == shown.text
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_readmes_test_passes(folder):
    assert "1 passed" in run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_words.py"], folder)


# --- docs/local.md


def test_docs_platform_starts_and_ends_with_the_exit_code_of_the_table(start, folder):
    process, variables = start(LOCAL)
    assert {"PLATFORM_API_URL", "AUTH_TOKEN", "ORG_ID", "WORKSPACE_ID", "NATS_URL", "RING_ID"} == set(variables)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert (folder / "flow-data").is_dir()


def test_docs_python_runs(folder):
    script = find(LOCAL, "from flow_client.local import LocalPlatform\n")
    assert run([sys.executable, "-c", script.text], folder) == "2\n"


def test_docs_manifest_can_be_started(start, folder):
    manifest = find(LOCAL, "# components.toml\n")
    (folder / manifest.file).write_text(manifest.text, encoding="utf-8")
    (folder / "search-skills.json").write_text('{"skills": []}', encoding="utf-8")
    _, variables = start(LOCAL)
    ask = "from flow_client import PlatformClient as C; print(C().get_service_skills('search', version='1.2'))"
    assert run([sys.executable, "-c", ask], folder, **variables) == "{'skills': []}\n"


# --- all of them


@pytest.mark.parametrize("block", [b for b in README + LOCAL if b.text.startswith("pip install")], ids=lambda b: b.text)
def test_what_pip_is_told_to_install_exists(block):
    """The commands themselves would install the last release, not what is tested here."""
    for program, verb, wanted in block.commands:
        assert (program, verb) == ("pip", "install")
        requirement = Requirement(wanted)
        assert requirement.name == metadata("flow-client")["Name"]
        assert requirement.extras <= set(metadata("flow-client").get_all("Provides-Extra"))


def test_no_block_is_left_out():
    """A new block has to be run by a test above. `make demo` is run by test_demo.py, `make test` is what runs here."""
    known = {
        "README.md": [
            *("make demo", "pip install", "# components.py", "# components.toml"),
            *("python -m flow_client.local", "# report.py", "6\n", "# test_words.py", "pip install"),
        ],
        "docs/local.md": [
            *("pip install", "python -m flow_client.local", "from flow_client.local import", "# components.toml"),
        ],
    }
    for document, starts in known.items():
        assert starts_of(document, starts) == starts


def test_readme_stays_short_and_says_sync_first():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "synchronous" in text.splitlines()[2]
    assert len(text.splitlines()) <= 200
