"""`list` and `logs`: what ran, and what it printed."""

import pytest
from support.command_line import flow, json_lines
from support.http import Answer

from flow_client.cli import exits


def test_the_newest_executions_come_first_and_can_be_filtered(at_platform):
    with at_platform.client() as client:
        ids = [client.submit_workflow_execution(name, {}).wait(60).execution_id for name in ("echo", "fail", "echo")]
    lines = flow("list", "--limit", "3").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ids[::-1]
    assert [line.split()[1] for line in lines] == ["completed", "failed", "completed"]
    assert lines[1].endswith("workflow fail")
    failed = flow("list", "--kind", "workflow", "--component", "fail", "--status", "failed", "--limit", "1", "--json")
    (summary,) = json_lines(failed.stdout)
    assert (summary["execution_id"], summary["component"]["id"]) == (ids[1], "fail")


def test_logs_are_what_was_printed(at_platform):
    with at_platform.client() as client:
        handle = client.submit_agent_execution("talk-and-fail", {})
        record = handle.wait(60)
    done = flow("logs", record.execution_id)
    assert (done.returncode, done.stdout) == (0, record.logs)
    assert done.stdout.endswith("the last words\n")


@pytest.mark.parametrize("command", [["list"], ["logs", "e-1"]], ids=" ".join)
def test_a_platform_that_does_not_offer_it_says_so(http_server, command):
    http_server.default = Answer(501, {"detail": "no"})
    done = flow(*command, "--base-url", http_server.url, AUTH_TOKEN="t", ORG_ID="o", WORKSPACE_ID="w")
    assert (done.returncode, done.stdout) == (exits.USAGE, "")
    assert "this platform does not" in done.stderr
