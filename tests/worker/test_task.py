"""A task that a test makes, and a handler that is called without a platform."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flow_client import InvalidRequestError
from flow_client.worker import Task

TESTS = Path(__file__).parents[1]


def test_a_task_has_the_defaults_of_the_contract():
    task = Task()
    assert (task.input_data, task.config, task.session_id, task.messages, task.state) == ({}, {}, None, [], {})
    assert (task.deployment_id, task.cancelled, task.events) == (None, False, [])


def test_a_task_has_what_it_is_given():
    client = object()
    task = Task(input_data=None, config={"m": 1}, session_id="s", messages=[1], state={"n": 2}, client=client)
    assert (task.input_data, task.config, task.session_id, task.messages) == (None, {"m": 1}, "s", [1])
    assert (task.state, task.client) == ({"n": 2}, client)


def test_a_task_keeps_its_events():
    task = Task(execution_id="e-1")
    data = {"n": [1]}
    task.emit("message", data)
    data["n"].append(2)
    task.emit("chunk", (3,))
    assert [(e.execution_id, e.sequence, e.event_type, e.event_data) for e in task.events] == [
        ("e-1", 1, "message", {"n": [1]}),
        ("e-1", 2, "chunk", [3]),
    ]


def test_a_task_refuses_the_events_that_a_bridge_refuses():
    task = Task()
    with pytest.raises(InvalidRequestError, match=r"event_data\.a is an object"):
        task.emit("chunk", {"a": object()})
    with pytest.raises(InvalidRequestError, match="event_type"):
        task.emit("", 1)


def test_a_task_publishes_where_it_is_told_to():
    told = []
    Task(publish=lambda *event: told.append(event), is_cancelled=lambda: True).emit("chunk", 1)
    assert told == [("chunk", 1)]
    assert Task(is_cancelled=lambda: True).cancelled


def _rehearse(handler, *options, stdin=""):
    done = subprocess.run(
        [sys.executable, "-m", "flow_client.worker", f"support.handlers:{handler}", *options],
        cwd=TESTS,
        input=stdin,
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_handler_is_called_without_a_platform():
    code, (first, second, output), stderr = _rehearse("stream", "--input", '["to", "be"]')
    assert (code, stderr) == (0, "")
    assert [(each["sequence"], each["event_data"]) for each in (first, second)] == [
        (1, {"word": "to"}),
        (2, {"word": "be"}),
    ]
    assert (output["output"], output["usage"], output["error"]) == (2, {"words": 2}, None)


def test_what_is_printed_is_utf_8_where_a_pipe_has_another_encoding(monkeypatch):
    """As on Windows, where it is the code page."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    code, (output,), stderr = _rehearse("echo", "--input", "-", stdin='["\u2192 \u4e2d"]')
    assert (code, output["output"]["input"], stderr) == (0, ["\u2192 \u4e2d"], "")


def test_an_input_is_read_from_a_file_or_from_standard_input(tmp_path):
    (tmp_path / "input.json").write_text('["from a file"]', encoding="utf-8")
    assert _rehearse("echo", "--input", f"@{tmp_path / 'input.json'}")[1][0]["output"]["input"] == ["from a file"]
    assert _rehearse("echo", "--input", "-", stdin='["typed"]')[1][0]["output"]["input"] == ["typed"]


def test_a_handler_is_called_with_a_configuration():
    assert _rehearse("config", "--input", "{}", "--config", '{"model": "m"}')[1][0]["output"] == {"model": "m"}


@pytest.mark.parametrize(
    ("handler", "kind", "shown"),
    [
        ("fail", "ValueError", 'raise ValueError("the \\udc80 is broken")'),
        ("no_form", "InvalidRequestError", "output.cfg.layers[1] is a _io.TextIOWrapper"),
        ("missing", "AttributeError", "missing"),
    ],
)
def test_a_handler_that_fails_says_so(handler, kind, shown):
    code, (output,), stderr = _rehearse(handler, "--input", "{}")
    assert (code, output["output"], output["error"]["type"]) == (1, None, kind)
    assert shown in stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "{"], "--input cannot be read: "),
        (["--input", "@/no/such/file"], "--input cannot be read: "),
        (["--input", "{}", "--config", "[]"], "--config is list; it must be a JSON object"),
        (["--config", "{}"], "--config needs --input"),
    ],
)
def test_a_wrong_option_is_an_error_of_the_command_line(options, message):
    code, printed, stderr = _rehearse("echo", *options)
    assert (code, printed) == (64, [])
    assert message in stderr
    assert stderr.count("\n") == 1
