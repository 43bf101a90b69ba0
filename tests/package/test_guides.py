"""Everything that the guides show is run, on a platform with the components of "Getting started"."""

import importlib
import io
import json
import subprocess
import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from support.documents import blocks_of, find, starts_of

from flow_client.local import LocalPlatform

START = blocks_of("docs/getting-started.md")
SCRIPTS = blocks_of("docs/scripts.md")
EMBEDDING = blocks_of("docs/embedding.md")
ERRORS = blocks_of("docs/errors.md")
SECONDS = 60

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all files that the guides name."""
    folder = tmp_path_factory.mktemp("guides")
    for block in [*START, *SCRIPTS, *EMBEDDING]:
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def platform(folder):
    with LocalPlatform(folder / "components.toml") as platform:
        yield platform


@pytest.fixture
def settings(platform, monkeypatch):
    for name, value in platform.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def load(folder, settings, monkeypatch):
    """Returns a function that imports a module of the guides, and forgets it at the end."""
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield importlib.import_module
    if "flow" in sys.modules:
        sys.modules["flow"].client().close()
    for name in {"flow", "web", "tasks"} - before:
        sys.modules.pop(name, None)


def run(script, folder):
    return subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_getting_started(folder, settings):
    done = run("first.py", folder)
    assert (done.stdout, done.stderr) == (find(START, "6\n").text, "")


def test_getting_started_exports_what_the_platform_prints(platform):
    exported = {line.removeprefix("export ").partition("=")[0] for line in find(START, "export ").text.splitlines()}
    assert exported == set(platform.environment()) - {"NATS_URL"}


def test_the_nightly_script_takes_up_what_it_has_started(folder, settings):
    (folder / "texts.txt").write_text("to be\nor not to be\n", encoding="utf-8")
    for counts in ("2 started, 0 resumed", "0 started, 2 resumed"):
        done = run("nightly.py", folder)
        assert (done.returncode, done.stdout) == (0, "2\n4\n"), done.stderr
        assert counts in done.stderr


def test_the_crontab_runs_the_script():
    fields = find(SCRIPTS, "15 2 ").text.split()
    assert {"cd", "flock", find(SCRIPTS, "# nightly.py").file} <= set(fields[5:])


def test_the_web_application(load):
    application = validator(load("web").application)

    def ask(**environ):
        environ = {"QUERY_STRING": "", "SCRIPT_NAME": "", "PATH_INFO": "/", **environ}
        setup_testing_defaults(environ)
        answer = application(environ, lambda status, headers, exc_info=None: io.BytesIO().write)
        try:
            return json.loads(b"".join(answer))
        finally:
            answer.close()

    submitted = ask(REQUEST_METHOD="POST")
    load("flow").client().execution(submitted["id"]).wait(SECONDS)
    assert ask(PATH_INFO=f"/{submitted['id']}") == {"status": "completed", "output": 2}


def test_the_celery_task(load):
    assert load("tasks").count_words.apply(["to be or not"]).get() == 4


def test_the_errors_are_handled(platform):
    with platform.client() as client:
        names = {"client": client}
        for block in ERRORS:
            exec(compile(block.text, "<docs/errors.md>", "exec"), names)
        assert names["output"] == 2


def test_no_block_is_left_out():
    """A new block has to be run by a test above; those of `pip` and of the command lines are run elsewhere."""
    known = {
        "docs/getting-started.md": [
            *("pip install", "export ", "flow-client doctor", "# first.py", "6\n", "pip install"),
            *("# components.py", "# components.toml", "python -m flow_client.local --components components.toml"),
        ],
        "docs/scripts.md": ["# nightly.py", "15 2 "],
        "docs/embedding.md": ["# flow.py", "# web.py", "# tasks.py"],
        "docs/errors.md": ["from flow_client import PlatformConn", "from flow_client import ExecutionWait"],
    }
    for document, starts in known.items():
        assert starts_of(document, starts) == starts
