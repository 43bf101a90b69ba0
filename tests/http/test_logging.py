"""What a client says, and to whom: DEBUG for each request, WARNING for each retry, nothing unless asked."""

import logging
import subprocess
import sys

import pytest
from support import faults
from support.http import Answer

import flow_client

DONE = Answer(200, {"execution_id": "e-1", "status": "completed"})


def levels(caplog):
    return [record.levelname for record in caplog.records if record.name == "flow_client"]


def test_a_request_is_one_line_at_debug(client, http_server, caplog):
    with caplog.at_level(logging.DEBUG):
        client.get_execution_status("e-1")
    assert levels(caplog) == ["DEBUG"]
    assert "GET /api/v1/orgs/org-1/workspaces/ws-1/executions/e-1: 200 after " in caplog.text


def test_a_retry_is_one_warning_between_two_requests(client, http_server, caplog):
    http_server.queue(Answer(503, {"detail": "down"}), DONE)
    with caplog.at_level(logging.DEBUG):
        client.get_execution_status("e-1")
    assert levels(caplog) == ["DEBUG", "WARNING", "DEBUG"]


def test_an_attempt_without_an_answer_is_a_line_too(make_client, caplog):
    with (
        faults.RawServer(lambda _: [None]) as server,
        caplog.at_level(logging.DEBUG),
        pytest.raises(flow_client.PlatformConnectionError),
    ):
        make_client(base_url=server.url, max_attempts=2).get_execution_status("e-1")
    assert levels(caplog) == ["DEBUG", "WARNING", "DEBUG"]
    assert caplog.text.count("no answer after") == 2


def test_nothing_is_said_by_default(http_server):
    http_server.queue(Answer(503, {}), DONE, *[Answer(503, {})] * 3)
    code = (
        "import sys, flow_client\n"
        "with flow_client.PlatformClient(sys.argv[1], 't-1', 'o', 'w') as client:\n"
        "    client.get_execution_status('e-1')\n"
        "    try: client.get_execution_status('e-1')\n"
        "    except flow_client.PlatformServerError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, http_server.url], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert len(http_server.received) == 5
