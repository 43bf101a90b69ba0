"""What a person sees of an error in a terminal: the last line says it, and there are few others."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from support.http import Answer

from flow_client import PlatformClient, PlatformExecutionError

LINES = 25
TRACE = """Traceback (most recent call last):
  File "/app/report.py", line 7, in run
    total += row["n"]
KeyError: 'n'
"""


def script(url, *lines):
    """Start a script of a user and return its process."""
    head = (
        f'from flow_client import PlatformClient\nclient = PlatformClient("{url}", "t-1", "o", "w", max_attempts=2)\n'
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent("\n".join(lines))],
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )


def shown(process):
    """Return the lines that the script ends with on its standard error."""
    _, errors = process.communicate(timeout=40)
    assert process.returncode != 0
    return errors.rstrip().splitlines()


SUBMIT = 'client.submit_workflow_execution("wf-1", {}, ring_id="r-1")'


def test_a_platform_that_does_not_run_is_told_in_few_lines():
    lines = shown(script("http://127.0.0.1:9", SUBMIT))
    assert len(lines) < LINES
    assert "PlatformConnectionError: cannot connect to http://127.0.0.1:9: [Errno 111]" in lines[-1]
    assert lines[-1].endswith("was not sent; is the platform running there (base_url, PLATFORM_API_URL)?")


def test_a_component_that_does_not_exist_is_told_in_few_lines(http_server):
    http_server.default = Answer(404, {"detail": "there is no workflow 'wf-1'"})
    lines = shown(script(http_server.url, SUBMIT))
    assert len(lines) < LINES
    assert lines[-1].endswith("404: there is no workflow 'wf-1'")


def test_ctrl_c_in_a_wait_is_told_in_few_lines(http_server):
    http_server.default = Answer(200, {"execution_id": "e-1", "status": "running"})
    process = script(http_server.url, 'client.execution("e-1").wait()')
    deadline = time.monotonic() + 20
    while len(http_server.received) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    lines = shown(process)
    assert len(lines) < LINES
    assert lines[-1 if sys.version_info < (3, 11) else -2] == "KeyboardInterrupt"
    if sys.version_info >= (3, 11):
        assert lines[-1].startswith("the wait for execution e-1 was interrupted; it goes on")


@pytest.mark.parametrize("way", ["result", "future"])
def test_a_failed_execution_carries_the_traceback_of_its_worker(client, http_server, way):
    error = {"type": "KeyError", "message": "'n'", "traceback": TRACE}
    http_server.default = Answer(200, {"execution_id": "e-1", "status": "failed", "error": error})
    handle = client.execution("e-1")
    with pytest.raises(PlatformExecutionError) as caught:
        handle.result() if way == "result" else handle.future().result().raise_for_status()
    assert caught.value.__notes__ == [f"the worker's own traceback:\n{TRACE.rstrip()}"]
    assert "report.py" not in str(caught.value)


@pytest.mark.parametrize("error", [None, "broken", {"type": "X", "message": "y"}, {"traceback": 5}, ["x"]])
def test_an_error_without_a_traceback_has_no_note(client, http_server, error):
    http_server.default = Answer(200, {"execution_id": "e-1", "status": "failed", "error": error})
    with pytest.raises(PlatformExecutionError) as caught:
        client.execution("e-1").result()
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    "proxy", ["http://user:secret@127.0.0.1:9", "http://user:secret@127.0.0.1:99999", "http://user:sec/ret@127.0.0.1:9"]
)
def test_no_error_shows_a_proxy_s_user_or_password(monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with PlatformClient("http://127.0.0.1:8", "t-1", "o", "w", max_attempts=1) as client:
        with pytest.raises(Exception, match="proxy") as caught:
            client.get_execution_status("e-1")
        text = f"{caught.value} {caught.value.__cause__}"
    assert "user:" not in text
    assert "sec" not in text
