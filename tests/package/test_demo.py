"""The quickstart, as `make demo` runs it: on a platform of its own, in processes of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import product

import pytest
from support.documents import ROOT, copied
from support.processes import marked, processes_of
from support.size import few

QUICKSTART = ROOT / "examples" / "quickstart.py"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def environment(tmp_path):
    return marked(tmp_path, PYTHONUNBUFFERED="1")


def test_the_numbers_are_those_of_wc(environment, tmp_path):
    copy = copied(tmp_path / "copy")
    done = subprocess.run(
        [sys.executable, copy / "examples" / "quickstart.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    table = {name: int(words) for words, name in re.findall(r"^ *(\d+)  (\S+)$", done.stdout, re.MULTILINE)}
    counted = subprocess.run(
        ["wc", "-w", *sorted(set(table) - {"total"})],
        cwd=copy,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # elsewhere a sign such as ⚠ is no word to it
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert table == {name: int(words) for words, name in re.findall(r"(\d+) (\S+)", counted.stdout)}
    assert {"README.md", "LICENSE", "docs/design.md", "total"} <= set(table)


def test_it_shows_each_status_the_messages_and_the_stream(environment):
    done = subprocess.run(
        [sys.executable, QUICKSTART], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    statuses = re.findall(r"^status    (\w+)$", done.stdout, re.MULTILINE)
    assert statuses[-2:] == ["running", "completed"]
    assert len(statuses) == len(set(statuses))
    assert re.search(r"^message   counting \d+ files$", done.stdout, re.MULTILINE)
    assert re.search(r"^agent     The \d+ files have \d+ words, .*\. $", done.stdout, re.MULTILINE)
    assert processes_of(environment["TMPDIR"]) == []


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
def test_killing_it_leaves_no_process_behind(environment, moment, number, eventually):
    with subprocess.Popen(
        [sys.executable, QUICKSTART], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as demo:
        wait_for(MOMENTS[moment], demo)
        if MOMENTS[moment]:
            assert len(processes_of(environment["TMPDIR"])) >= 7  # the demo, and three services with a guard each
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(timeout=60) != 0
    assert eventually(lambda: not processes_of(environment["TMPDIR"])), processes_of(environment["TMPDIR"])


def wait_for(start, demo):
    if start is None:
        return
    if not start:
        time.sleep(0.4)
        return
    for line in demo.stdout:
        if line.startswith(start):
            return


@pytest.mark.soak
def test_killing_any_one_process_of_it_leaves_none_behind(environment, eventually):
    """Each process of the demo in turn, while the workflow runs."""
    for victim in range(few(2, of=6)):
        with subprocess.Popen(
            [sys.executable, QUICKSTART], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as demo:
            wait_for("message   counting", demo)
            others = [process for process in processes_of(environment["TMPDIR"]) if process.pid != demo.pid]
            others[victim % len(others)].kill()
            demo.kill()
            demo.stdout.read()
        assert eventually(lambda: not processes_of(environment["TMPDIR"])), processes_of(environment["TMPDIR"])
