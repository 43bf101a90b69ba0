"""The example notebook, run cell by cell in a real kernel on a platform of its own."""

import os
import re
import signal
import subprocess
import sys
from ast import literal_eval
from html import unescape
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from support.documents import ROOT, copied
from support.processes import marked, processes_of

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
PROGRAM = Path(__file__).parent / "programs" / "run_notebook.py"
SECONDS = 100

pytestmark = pytest.mark.timeout(120)


def environment(folder):
    return marked(folder, JUPYTER_RUNTIME_DIR=str(folder), IPYTHONDIR=str(folder))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def executed(copy, tmp_path_factory, eventually):
    """The notebook with its outputs, by a word of each cell's code."""
    folder = tmp_path_factory.mktemp("notebook")
    target = folder / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, PROGRAM, NOTEBOOK, copy / "examples", target],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: not processes_of(folder))
    return nbformat.read(target, as_version=4)


@pytest.fixture
def outputs_of(executed):
    """The outputs of the one cell whose code has this text."""

    def find(text):
        (cell,) = (cell for cell in code_cells(executed) if text in cell.source)
        return cell.outputs

    return find


def html_of(output):
    return output.data["text/html"]


def text_of(output):
    return unescape(re.sub(r"<[^>]*>", "", html_of(output)))


def test_it_is_kept_without_outputs():
    for cell in code_cells(nbformat.read(NOTEBOOK, as_version=4)):
        assert (cell.outputs, cell.execution_count) == ([], None)


def test_a_handle_and_its_record_are_shown(outputs_of):
    (handle,), (record,) = outputs_of("handle = count("), outputs_of("handle.wait(")
    assert re.search(r"Execution [0-9a-f-]{36} queued when submitted", text_of(handle))
    assert "idempotency key" in text_of(handle)
    assert re.search(r"completedwaited .* ran .* finished .* UTC ?output 6", text_of(record))


def test_the_words_are_counted_under_a_bar(copy, executed, outputs_of):
    bar, words = outputs_of("words[name] =")
    texts = [*copy.glob("*.md"), *copy.glob("docs/*.md")]
    counted = {path.name: len(path.read_text(encoding="utf-8").split()) for path in texts}
    assert literal_eval(words.data["text/plain"]) == counted
    drawn = bar_of(executed, bar)
    assert f"{len(texts)}/{len(texts)} [" in drawn["text"]
    assert (drawn["value"], drawn["style"]) == (len(texts), "success")


def test_a_bar_says_how_many_failed(executed, outputs_of):
    bar, _ = outputs_of("good, bad =")
    assert re.search(r"2/2 \[.*, 1 failed\]", bar_of(executed, bar)["text"])


def bar_of(executed, output):
    """Return what a bar's widgets show at the end."""
    widgets = executed.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    box = widgets[output.data["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
    left, bar, right = (widgets[child.removeprefix("IPY_MODEL_")]["state"] for child in box["children"])
    text = f"{left['value']}{right['value']}".replace("\u2007", " ")
    return {"text": text, "value": bar["value"], "style": bar["bar_style"]}


def test_what_the_agent_streams_is_its_output(outputs_of):
    (streamed,), (record,) = outputs_of("agent.events()"), outputs_of("agent.wait(")
    assert re.fullmatch(r"The \d+ files have \d+ words, .*\. ", streamed.text)
    assert streamed.name == "stdout"
    assert streamed.text.strip() in text_of(record)


def test_a_failure_is_shown_as_a_record_and_as_an_error(outputs_of):
    record, (error,) = outputs_of("good, bad =")[-1], outputs_of("raise_for_status()\nexcept")
    for shown in (record, error):
        assert "error KeyError: 'text'" in text_of(shown)
        assert "Traceback (most recent call last)" in text_of(shown)
    assert text_of(error).startswith("PlatformExecutionErrorexecution ")


def test_the_futures_come_with_the_same_counts(outputs_of):
    _, words = outputs_of("words[name] =")
    (printed,) = outputs_of("as_completed(futures)")
    lines = re.findall(r"^ *(\d+)  (\S+)$", printed.text, re.MULTILINE)
    assert {name: int(count) for count, name in lines} == literal_eval(words.data["text/plain"])


@pytest.fixture
def kernel(tmp_path):
    """A kernel in the examples' folder, and what to speak to it with."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=NOTEBOOK.parent, env=environment(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cell(client, source):
    """Run the cell to its end and return the messages that it sent."""
    messages = []
    reply = client.execute_interactive(source, timeout=60, output_hook=messages.append)
    assert reply["content"]["status"] == "ok"
    return messages


def test_killing_the_kernel_ends_the_platform(kernel, tmp_path, gone):
    manager, client = kernel
    run_cell(client, code_cells(nbformat.read(NOTEBOOK, as_version=4))[0].source)
    processes = processes_of(tmp_path)
    assert len(processes) >= 7  # the kernel, and three services with a guard each
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    assert gone(*(process.pid for process in processes))


CELL = """
import sys
sys.modules["ipywidgets"] = None
from flow_client import PlatformClient
client = PlatformClient({url!r}, "t-1", "org-1", "ws-1")
records = list(client.map(client.execution, ["e-1", "e-1"], progress=True))
"""


def test_without_widgets_the_bar_is_text_on_standard_error(kernel, http_server):
    messages = run_cell(kernel[1], CELL.format(url=http_server.url))
    written = {"stdout": "", "stderr": ""}
    for message in messages:
        if message["msg_type"] == "stream":
            written[message["content"]["name"]] += message["content"]["text"]
    assert "| 2/2 [" in written["stderr"]
    assert written["stdout"] == ""
