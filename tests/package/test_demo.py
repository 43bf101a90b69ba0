"""The quickstart, as `make demo` runs it: on a platform of its own, in processes of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import product

import pytest
from support.documents import copied, documents
from support.processes import marked, processes_of
from support.size import few

pytestmark = pytest.mark.timeout(120)


def marked_by(folder):
    return marked(folder, PYTHONUNBUFFERED="1")


@pytest.fixture
def environment(tmp_path):
    return marked_by(tmp_path)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def start(copy, environment):
    """A function that starts the demo."""
    return lambda: subprocess.Popen(
        [sys.executable, copy / "examples" / "quickstart.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A demo that has counted the words of all documents: their folder, and what it printed."""
    folder = copied(tmp_path_factory.mktemp("all"), documents())
    mark = tmp_path_factory.mktemp("mark")
    done = subprocess.run(
        [sys.executable, folder / "examples" / "quickstart.py"],
        env=marked_by(mark),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr, processes_of(mark)) == (0, "", [])
    return folder, done.stdout


def test_the_numbers_are_those_of_wc(finished):
    folder, printed = finished
    table = {name: int(words) for words, name in re.findall(r"^ *(\d+)  (\S+)$", printed, re.MULTILINE)}
    counted = subprocess.run(
        ["wc", "-w", *sorted(set(table) - {"total"})],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # elsewhere a sign such as ⚠ is no word to it
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert table == {name: int(words) for words, name in re.findall(r"(\d+) (\S+)", counted.stdout)}
    assert {*documents(), "total"} == set(table)


def test_it_shows_each_status_the_messages_and_the_stream(finished):
    _, printed = finished
    statuses = re.findall(r"^status    (\w+)$", printed, re.MULTILINE)
    assert statuses[-2:] == ["running", "completed"]
    assert len(statuses) == len(set(statuses))
    assert re.search(r"^message   counting \d+ files$", printed, re.MULTILINE)
    assert re.search(r"^agent     The \d+ files have \d+ words, .*\. $", printed, re.MULTILINE)


MOMENTS = {
    "at once": None,
    "while it starts": "",
    "when the platform listens": "platform",
    "when the workflow is submitted": "workflow",
    "when it runs": "message   counting",
    "while the agent streams": "agent",
}
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
ONCE_EACH = [*zip(MOMENTS, SIGNALS * 2, strict=True)]


@pytest.mark.soak
@pytest.mark.parametrize(("moment", "number"), few(ONCE_EACH, of=[*product(MOMENTS, SIGNALS)]))
def test_killing_it_leaves_no_process_behind(start, environment, moment, number, eventually):
    with start() as demo:
        wait_for(MOMENTS[moment], demo)
        if MOMENTS[moment]:
            assert len(processes_of(environment["TMPDIR"])) >= 7  # the demo, and three services with a guard each
        demo.send_signal(number)
        demo.send_signal(signal.SIGCONT)
        demo.stdout.read()
        assert demo.wait(timeout=60) != 0
    assert eventually(lambda: not processes_of(environment["TMPDIR"])), processes_of(environment["TMPDIR"])


def wait_for(start, demo):
    """Wait for a moment of the demo; at a printed line, hold it there: it may be over before anybody has looked."""
    if start is None:
        return
    if not start:
        time.sleep(0.4)
        return
    for line in demo.stdout:
        if line.startswith(start):
            demo.send_signal(signal.SIGSTOP)
            return


@pytest.mark.soak
def test_killing_any_one_process_of_it_leaves_none_behind(start, environment, eventually):
    """Each process of the demo in turn, while the workflow runs."""
    for victim in range(few(2, of=6)):
        with start() as demo:
            wait_for("message   counting", demo)
            others = [process for process in processes_of(environment["TMPDIR"]) if process.pid != demo.pid]
            others[victim % len(others)].kill()
            demo.kill()
            demo.stdout.read()
        assert eventually(lambda: not processes_of(environment["TMPDIR"])), processes_of(environment["TMPDIR"])
