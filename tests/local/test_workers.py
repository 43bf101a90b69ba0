"""Workers on the local platform: the same from a warm zygote and in a newly started interpreter."""

import nats.errors
import pytest
import requests
from support.jetstream import with_jetstream

from flow_client.local import LocalPlatform


@pytest.fixture(scope="module", params=["warm", "fresh"])
def platform(platform, components, request):
    if request.param == "warm":
        yield platform
    else:
        with LocalPlatform(components, max_workers=4, fresh_workers=True) as fresh:
            yield fresh


# --- what a worker is given


def test_worker_gets_a_containers_environment_and_no_more(caller, platform, monkeypatch):
    headers = {"X-Parent-Billing-Txn-Id": "txn-7"}
    answer = caller.submit("code-blocks", "environment", headers=headers, lifecycle_event="nightly")
    record = caller.end(answer.json()["execution_id"])
    environment = record["output"]
    assert environment["EXECUTION_ID"] == record["execution_id"]
    assert environment["PARENT_BILLING_TXN_ID"] == "txn-7"
    assert environment["LIFECYCLE_EVENT"] == "nightly"
    assert environment["MODEL"] == "small"
    assert environment["PLATFORM_API_URL"] == platform.base_url
    assert (environment["ORG_ID"], environment["WORKSPACE_ID"]) == (platform.org_id, platform.workspace_id)
    assert environment["RING_ID"] == platform.ring_id
    assert environment["DEPLOYMENT_ID"]
    assert environment["NATS_URL"] == platform.nats_url
    assert not [name for name in environment if name.startswith(("FLOW_LOCAL", "PYTEST", "VIRTUAL_ENV"))]


def test_workers_token_opens_the_api(caller):
    token = caller.run("code-blocks", "environment")["output"]["AUTH_TOKEN"]
    answer = requests.get(
        f"{caller.org}/services/search/skills.json", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    assert answer.status_code == 200


def test_no_secret_stands_on_a_command_line(caller, components):
    output = caller.run("code-blocks", "arguments")["output"]
    assert output["argv"][1:] == ["-m", "flow_client.worker", "components:arguments"]
    assert output["folder"] == str(components.parent)


# --- how executions end


def test_component_that_raises_ends_as_failed(caller):
    record = caller.run("workflows", "fail", {"name": "x"})
    assert record["status"] == "failed"
    assert record["error"]["type"] == "ValueError"
    assert record["error"]["message"] == "no such text: {'name': 'x'}"
    assert 'raise ValueError(f"no such text' in record["error"]["traceback"]


def test_a_worker_sees_the_configuration_of_its_execution(caller):
    record = caller.run("workflows", "configuration", config={"model": "small"})
    assert record["output"] == {"model": "small"}


def test_what_a_worker_yields_is_its_events_and_what_it_returns_is_its_output(platform):
    with platform.client() as client:
        handle = client.submit_workflow_execution("stream", {"words": ["to", "be"]}, ring_id=platform.ring_id)
        assert [(event.event_type, event.event_data) for event in handle.events()] == [("chunk", "to"), ("chunk", "be")]
        assert handle.result(30) == 2


def test_crash_is_delivered_three_times_and_ends_as_dead_letter(caller):
    record = caller.run("workflows", "crash")
    assert record["status"] == "dead_letter"
    assert record["metrics"]["deliveries"] == 3
    assert (
        record["error"]["message"] == "The worker left no output and exited with code 3, in the last of 3 deliveries."
    )
    assert record["error"]["log"].count("going down") == 3


def test_failure_comes_with_the_end_of_the_log(caller):
    record = caller.run("agents", "talk-and-fail", {"n": 2})
    assert (record["status"], record["error"]["type"]) == ("failed", "ValueError")
    assert "raise ValueError(task.input_data)" in record["error"]["traceback"]
    assert "the last words" in record["error"]["log"]
    assert len(record["error"]["log"]) <= 8192


def test_failed_inline_call_comes_with_the_end_of_the_log(caller):
    body = {"input_data": {}, "execution_mode": "inline", "caller_deployment_id": None}
    answer = caller.post(f"{caller.inline}/agents/talk-and-fail/execute", body)
    assert "the last words" in answer.json()["detail"]["error"]["log"]


def test_timeout_and_cancellation_come_with_the_end_of_the_log(caller, platform, eventually):
    record = caller.run("workflows", "talk-and-sleep", timeout_seconds=3)
    assert (record["status"], record["error"]["log"]) == ("timeout", "going to bed\n")
    execution_id = caller.submit("workflows", "talk-and-sleep").json()["execution_id"]
    log = platform.log_folder / f"{execution_id}.log"
    assert eventually(lambda: log.exists() and log.read_text())
    caller.post(f"{caller.workspace}/executions/{execution_id}/cancel")
    error = {"type": "ExecutionCancelled", "message": "The execution was cancelled.", "log": "going to bed\n"}
    assert caller.record(execution_id).json()["error"] == error


def test_no_other_file_of_the_runner_can_be_asked_for(platform, tmp_path):
    (tmp_path / "private.log").write_text("private")

    async def ask(js):
        return await js._nc.request(f"flow.local.log.{tmp_path / 'private'}", timeout=1)

    with pytest.raises(nats.errors.TimeoutError):
        with_jetstream(platform.nats_url, ask)


def test_log_of_an_execution_that_completed_is_a_file(completed, platform):
    assert completed["error"] is None
    assert (platform.log_folder / f"{completed['execution_id']}.log").exists()


def test_crashed_execution_is_taken_up_again_with_its_input(caller, tmp_path):
    record = caller.run("workflows", "crash-once", {"marker": str(tmp_path / "marker")})
    assert (record["status"], record["output"]) == ("completed", "second time lucky")
    assert record["metrics"]["deliveries"] == 2


def test_time_limit_ends_an_execution_and_its_processes(caller, tmp_path, gone, eventually):
    pids = tmp_path / "pids"
    # The limit counts from the delivery: the worker has to start within it.
    record = caller.run("workflows", "spawn", {"pids": str(pids)}, timeout_seconds=2)
    assert record["status"] == "timeout"
    assert record["error"]["message"] == "The execution took longer than its timeout_seconds, 2."
    assert gone(*map(int, pids.read_text().split()))


def test_cancel_is_recorded_at_once_and_ends_the_processes(caller, tmp_path, gone, eventually):
    pids = tmp_path / "pids"
    data = {"pids": str(pids), "seconds": 2}
    execution_id = caller.submit("workflows", "spawn", data).json()["execution_id"]
    assert eventually(lambda: pids.exists() and pids.read_text().endswith("\n"))
    answer = caller.post(f"{caller.workspace}/executions/{execution_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert caller.record(execution_id).json()["status"] == "cancelled"
    assert gone(*map(int, pids.read_text().split()))
    assert caller.record(execution_id).json()["status"] == "cancelled"


def test_cancel_leaves_an_ended_execution_as_it_is(caller, completed):
    answer = caller.post(f"{caller.workspace}/executions/{completed['execution_id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert caller.record(completed["execution_id"]).json() == completed
