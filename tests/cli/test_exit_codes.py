"""The table of exit codes, each provoked for real."""

import re
from pathlib import Path

import pytest
from support.command_line import flow, json_lines, start
from support.documents import ROOT
from support.faults import RawServer
from support.http import Answer

from flow_client.cli import exits

NOBODY = "00000000-0000-4000-8000-000000000000"


def submitted(workflow, input_data="{}"):
    done = flow("run", "workflow", workflow, "--input", input_data, "--detach")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def ended(at_platform):
    """An execution of each kind, by how it ends, and one that does not end."""
    with at_platform.client() as client:
        handles = {
            name: client.submit_workflow_execution(workflow, given)
            for name, workflow, given in [
                ("completed", "echo", {}),
                ("failed", "fail", {}),
                ("dead_letter", "crash", {}),
                ("cancelled", "sleep", {}),
                ("running", "sleep", {"seconds": 600}),
            ]
        }
        handles["cancelled"].cancel()
        for name in ("completed", "failed", "dead_letter", "cancelled"):
            assert handles[name].wait(60).status == name
        yield {name: handle.execution_id for name, handle in handles.items()}
        handles["running"].cancel()


CODES = {"completed": 0, "failed": 1, "cancelled": 3, "running": 4, "dead_letter": 5}


def test_the_code_says_how_an_execution_ended_and_of_several_the_worst(ended):
    for name, code in CODES.items():
        assert flow("status", ended[name]).returncode == code, name
    assert flow("result", ended["dead_letter"]).returncode == 5
    assert flow("result", ended["running"], "--timeout", "0").returncode == 4
    assert flow("wait", ended["failed"], ended["completed"], ended["cancelled"]).returncode == 1
    assert flow("wait", ended["failed"], ended["dead_letter"], "--for", "any").returncode == 0
    done = flow("wait", ended["running"], ended["failed"], "--timeout", "0.5", "--json")
    assert done.returncode == 4
    by_id = {line["execution_id"]: line for line in json_lines(done.stdout)}
    assert by_id[ended["running"]]["exit_code"] == 4
    assert by_id[ended["failed"]]["status"] == "failed"
    assert flow("status", ended["running"], NOBODY).returncode == 2


def test_a_run_that_is_waited_for_in_vain_goes_on(at_platform):
    done = flow("run", "workflow", "sleep", "--input", '{"seconds": 600}', "--timeout", "0.5")
    assert done.returncode == exits.TIMED_OUT
    assert done.stdout == ""
    execution_id = re.search(r"To wait for it again: flow-client wait (\S+)", done.stderr)[1]
    with at_platform.client() as client:
        assert not client.get_execution_status(execution_id).is_terminal
        client.cancel_execution(execution_id)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["run", "code-block"],
        ["run", "code-block", "x", "--input", "{"],
        ["run", "code-block", "x", "--input", "[1]"],
        ["run", "transform", "x", "--detach"],
        ["run", "workflow", "echo", "--timeout", "-1"],
        ["run", "workflow", "echo", "--time-limit", "0"],
        ["run", "workflow", "echo", "--timeout", "nan"],
        ["wait"],
        ["status", "not/an/id"],
        ["status", NOBODY],
        ["run", "code-block", "there-is-none"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_2(at_platform, arguments):
    done = flow(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_a_transform_that_fails_is_1(at_platform):
    assert flow("run", "transform", "total", "--input", '["a"]').returncode == 1


def test_a_platform_that_nobody_answers_for_is_69(at_platform, refusing_url):
    done = flow("status", NOBODY, PLATFORM_API_URL=refusing_url.replace("nats", "http"))
    assert done.returncode == exits.UNREACHABLE


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 2), (429, 69), (500, 69), (503, 69)])
def test_what_the_platform_answers(http_server, status, code):
    http_server.default = Answer(status, {"detail": "no"})
    done = flow("status", "e-1", "--base-url", http_server.url, AUTH_TOKEN="t", ORG_ID="o", WORKSPACE_ID="w")
    assert (done.returncode, done.stdout) == (code, "")
    assert "no" in done.stderr


def test_a_refused_token_is_77(at_platform):
    expired = at_platform.issue_token(expires_in=-10)
    assert flow("status", NOBODY, AUTH_TOKEN=expired).returncode == exits.NOT_AUTHORISED


@pytest.mark.parametrize(
    "variables",
    [{"PLATFORM_API_URL": None}, {"AUTH_TOKEN": None}, {"FLOW_PROFILE": "none"}, {"PLATFORM_TIMEOUT_SECONDS": "soon"}],
    ids=str,
)
def test_settings_that_are_missing_or_not_valid_are_78(at_platform, variables):
    done = flow("status", NOBODY, **variables)
    assert (done.returncode, done.stdout) == (exits.CONFIGURATION, "")
    assert done.stderr.startswith("flow-client: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_nats_events_are_a_question_of_configuration(at_platform):
    with at_platform.client() as client:
        execution_id = client.submit_workflow_execution("echo", {}).execution_id
    assert flow("events", execution_id, NATS_URL=None).returncode == exits.CONFIGURATION


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"]], ids=" ".join)
def test_an_output_that_cannot_be_written_is_74(arguments):
    with Path("/dev/full").open("w", encoding="utf-8") as full, start(*arguments, stdout=full) as program:
        _, said = program.communicate(timeout=60)
    assert program.returncode == exits.IO
    assert said == "flow-client: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(("stage", "is_said"), [("answer", True), ("connect", False)])
def test_a_submission_whose_fate_is_not_known_says_how_it_runs_only_once(at_platform, refusing_url, stage, is_said):
    with RawServer(lambda _: [None]) as server:
        url = server.url if stage == "answer" else refusing_url.replace("nats", "http")
        done = flow("run", "workflow", "echo", "--base-url", url, "--idempotency-key", "k-1")
    assert done.returncode == exits.UNREACHABLE
    assert ("with --idempotency-key k-1 it runs only once" in done.stderr) == is_said


def test_the_order_from_best_to_worst():
    assert exits.worst([]) == 0
    assert exits.worst([0, 3]) == 3
    assert exits.worst([3, 1]) == 1
    assert exits.worst([1, 5]) == 5
    assert exits.worst([5, 4]) == 4
    assert exits.worst([4, 2]) == 2
    assert exits.worst([77, 2]) == 77
    assert exits.worst([78, 77]) == 78
    assert exits.worst([78, 69]) == 69


@pytest.mark.parametrize("command", ["status", "wait", "cancel"])
def test_a_missing_setting_is_said_for_each_of_several_executions(command):
    done = flow(command, "e-1", "e-2", PLATFORM_API_URL="http://127.0.0.1:9", AUTH_TOKEN="t", ORG_ID=None)
    assert (done.returncode, done.stdout) == (exits.CONFIGURATION, "")
    assert "needs org_id" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_lists_every_code():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert listed == {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
