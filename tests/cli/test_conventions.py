"""The conventions of docs/cli.md, one by one, on real processes with real pipes and terminals."""

import os
import re
import signal
import subprocess
import sys
from functools import partial

import pexpect
import psutil
import pytest
from support.command_line import PROGRAM, SECONDS, environment, flow, json_lines, start
from support.documents import ROOT
from support.http import Answer

from flow_client.cli import exits
from flow_client.cli.output import json_text

COLOUR = "\x1b["


@pytest.fixture
def handle(at_platform):
    """An execution that does not end by itself."""
    with at_platform.client() as client:
        handle = client.submit_workflow_execution("sleep", {"seconds": 600})
        yield handle
        handle.cancel()


def on_terminal(*arguments, **variables):
    return pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], *arguments],
        env=environment(TERM="xterm", NO_COLOR=None, **variables),
        timeout=SECONDS,
        encoding="utf-8",
        dimensions=(24, 200),
    )


def code_of(terminal):
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus


# --- standard output and standard error


def test_results_are_on_standard_output_and_everything_else_is_not(at_platform):
    done = flow("run", "code-block", "count-words", "--input", '{"text": "to be"}')
    assert done.stdout == '{\n  "words": 2\n}\n'
    assert re.fullmatch(r"execution \S+ was submitted\n", done.stderr)
    failed = flow("run", "workflow", "fail")
    assert failed.stdout == ""
    assert "ValueError: no such text" in failed.stderr


def test_quiet_leaves_errors_and_results(at_platform):
    done = flow("run", "code-block", "count-words", "--input", '{"text": "to be"}', "--quiet")
    assert (done.stdout, done.stderr) == ('{\n  "words": 2\n}\n', "")
    assert "ValueError" in flow("run", "workflow", "fail", "--quiet").stderr


def test_json_is_one_object_a_line_with_a_version(at_platform):
    done = flow("run", "code-block", "chatter", "--watch", "--json")
    *events, record = json_lines(done.stdout)
    assert [event["$schema"] for event in events] == ["flow-client/event/1"] * 3
    assert [event["event_data"] for event in events] == [0, 1, 2]
    assert (record["$schema"], record["status"], record["output"]) == ("flow-client/execution/1", "completed", "said")
    assert record["ran_seconds"] > 0
    assert record["waited_seconds"] > 0


def test_a_terminal_sees_the_same_result_as_a_pipe(at_platform):
    text = '{"text": "не быть"}'
    piped = flow("run", "workflow", "echo", "--input", text, "--quiet").stdout
    shown = on_terminal("run", "workflow", "echo", "--input", text, "--quiet")
    shown.expect(pexpect.EOF)
    assert shown.before.replace("\r\n", "\n") == piped == '{\n  "text": "не быть"\n}\n'


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_results_are_utf_8_in_every_locale(at_platform, locale):
    given = r'{"text": "\u043d\u0435"}'
    done = flow("run", "workflow", "echo", "--input", given, "--quiet", LC_ALL=locale, PYTHONUTF8="0")
    assert done.stdout == '{\n  "text": "не"\n}\n'


def test_what_utf_8_cannot_say_is_escaped():
    assert json_text({"text": "не\ud800"}) == r'{"text": "не\ud800"}'


def test_what_comes_from_elsewhere_cannot_command_the_terminal(http_server):
    http_server.default = Answer(404, {"detail": "gone \x1b[2J\x07"})
    done = flow("status", "e-1", "--base-url", http_server.url, AUTH_TOKEN="t", ORG_ID="o", WORKSPACE_ID="w")
    assert r"gone \x1b[2J\x07" in done.stderr


# --- colours


def test_colours_are_for_terminals():
    shown = on_terminal("status", "e-1")
    shown.expect(pexpect.EOF)
    assert COLOUR in shown.before
    assert COLOUR not in flow("status", "e-1").stderr


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_that_wants_no_colours_gets_none(variables):
    shown = pexpect.spawn(PROGRAM[0], [*PROGRAM[1:], "status", "e-1"], env=environment(**variables), encoding="utf-8")
    shown.expect(pexpect.EOF, timeout=SECONDS)
    assert "base_url is missing" in shown.before
    assert COLOUR not in shown.before


# --- no questions


@pytest.mark.parametrize("command", [[], ["run"], ["status"], ["config"], ["local"]], ids=" ".join)
def test_nothing_is_ever_asked(command):
    """Not on a terminal either: what is missing is an error."""
    assert code_of(on_terminal(*command)) == exits.USAGE


# --- pipes


@pytest.mark.parametrize("command", [["--help"], ["config", "show"], ["completion", "bash"]], ids=" ".join)
def test_a_broken_pipe_is_quiet(command):
    ours, theirs = os.pipe()
    os.close(ours)
    with start(*command, stdout=theirs) as program:
        os.close(theirs)
        _, said = program.communicate(timeout=SECONDS)
    assert (program.returncode, said) == (exits.BROKEN_PIPE, "")


def test_a_pipe_that_breaks_while_events_are_followed_is_quiet(handle):
    with start("events", handle.execution_id, "--follow") as program:
        program.stdout.close()
        handle.cancel()  # nothing is written before there is something to write
        assert program.wait(SECONDS) in (exits.COMPLETED, exits.BROKEN_PIPE)
        assert program.stderr.read() == ""


def test_a_closed_standard_output_is_an_error():
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "config", "show"],
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (exits.IO, b"flow-client: [Errno 9] standard output is closed\n")


# --- Ctrl-C


def test_ctrl_c_detaches_and_says_how_to_take_it_up_again(handle, eventually):
    shown = on_terminal("wait", handle.execution_id)
    assert eventually(lambda: psutil.Process(shown.pid).net_connections())  # by then it waits
    shown.sendintr()
    shown.expect(rf"goes on. To wait again: (flow-client wait {handle.execution_id})\r")
    assert code_of(shown) == exits.INTERRUPTED
    assert not handle.status().is_terminal


def test_events_that_are_interrupted_go_on_with_the_next(at_platform):
    with at_platform.client() as client:
        handle = client.submit_code_block_execution("chatter-and-sleep", {"seconds": 600})
        shown = on_terminal("events", handle.execution_id, "--follow")
        shown.expect("1  chunk  0")
        shown.sendintr()
        shown.expect(rf"flow-client events {handle.execution_id} --from [12]\r")  # it may not have been counted yet
        assert code_of(shown) == exits.INTERRUPTED
        handle.cancel()


def test_the_session_of_a_terminal(at_platform):
    """Run and watch, Ctrl-C, status, wait."""
    shown = on_terminal("run", "code-block", "chatter-and-sleep", "--watch")
    shown.expect(r"execution (\S+) was submitted")
    execution_id = shown.match[1]
    shown.expect("1  chunk  0")
    shown.sendintr()
    shown.expect(rf"interrupted; execution {execution_id} goes on. To wait for it again: (flow-client wait \S+)\r")
    again = shown.match[1]
    assert code_of(shown) == exits.INTERRUPTED

    done = flow("status", execution_id)
    assert (done.returncode, done.stdout) == (exits.TIMED_OUT, f"{execution_id}  running\n")
    done = flow(*again.split()[1:])
    assert (done.returncode, done.stdout.split()[:2]) == (exits.COMPLETED, [execution_id, "completed"])


def test_a_second_ctrl_c_ends_at_once():
    """Whatever the first one has begun to do in good order."""
    code = (
        "import threading\n"
        "from flow_client.cli import interrupts\n"
        "interrupts.install()\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    threading.Event().wait()\n"
        "except KeyboardInterrupt:\n"
        "    print('first', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        for said in ("ready", "first"):
            assert program.stdout.readline() == f"{said}\n"
            program.send_signal(signal.SIGINT)
        assert program.wait(SECONDS) == exits.INTERRUPTED


def test_whoever_is_started_with_ctrl_c_ignored_goes_on_ignoring_it(handle):
    """As a shell has it for what it starts in the background."""
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with start("wait", handle.execution_id, preexec_fn=ignore) as program:
        program.send_signal(signal.SIGINT)
        handle.cancel()
        shown, said = program.communicate(timeout=SECONDS)
    assert (program.returncode, said) == (exits.CANCELLED, "")
    assert shown.split()[:2] == [handle.execution_id, "cancelled"]


# --- without the extra


def test_without_click_it_says_what_to_install():
    """-S: the packages that are installed are not there."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "flow_client", "--help"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (exits.CONFIGURATION, "")
    assert done.stderr == "flow-client: the command line needs click: pip install 'flow-client[cli]'\n"
