"""The local platform's API over plain HTTP, with real workers."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import nats.errors
import pytest
import requests
from support.jetstream import with_jetstream

from flow_client.local import tokens

TERMINAL = {"completed", "failed", "timeout", "dead_letter", "cancelled"}


class Caller:
    """Sends plain requests with the platform's token."""

    def __init__(self, platform):
        self.platform = platform
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {platform.auth_token}"
        self.org = f"{platform.base_url}/api/v1/orgs/{platform.org_id}"
        self.workspace = f"{self.org}/workspaces/{platform.workspace_id}"
        self.inline = f"{platform.base_url}/api/v1/component-execution"

    def body(self, kind, data, **changes):
        field = "input_parameters" if kind == "code-blocks" else "input_data"
        body = {
            field: data,
            "config": {},
            "lifecycle_event": "workflow",
            "ring_id": self.platform.ring_id,
            "timeout_seconds": 60,
        }
        return {**body, **changes}

    def post(self, url, body=None, **headers):
        return self.session.post(url, json=body, headers=headers, timeout=60)

    def get(self, url, **headers):
        return self.session.get(url, headers=headers, timeout=60)

    def submit(self, kind, component_id, data=None, headers=None, **changes):
        url = f"{self.workspace}/{kind}/{component_id}/executions"
        return self.post(url, self.body(kind, data or {}, **changes), **(headers or {}))

    def record(self, execution_id, **headers):
        return self.get(f"{self.workspace}/executions/{execution_id}", **headers)

    def run(self, kind, component_id, data=None, **changes):
        answer = self.submit(kind, component_id, data, **changes)
        assert answer.status_code == 202, answer.text
        return self.end(answer.json()["execution_id"])

    def end(self, execution_id, seconds=30):
        return self.until(execution_id, TERMINAL, seconds)

    def until(self, execution_id, statuses, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            record = self.record(execution_id, Prefer="wait=5").json()
            if record["status"] in statuses:
                return record
        raise AssertionError(f"still {record['status']} after {seconds} s")


@pytest.fixture(scope="module")
def caller(platform):
    caller = Caller(platform)
    yield caller
    caller.session.close()


@pytest.fixture(scope="module")
def completed(caller):
    """The record of an execution that has completed."""
    return caller.run("agents", "answer")


# --- the operations


@pytest.mark.parametrize(
    ("kind", "component_id", "data", "output"),
    [
        ("code-blocks", "count-words", {"text": "three short words"}, {"words": 3}),
        ("workflows", "sleep", {"seconds": 0}, "rested"),
        ("agents", "answer", {"name": "Ada"}, {"text": "Hello Ada"}),
    ],
)
def test_submitted_execution_completes(caller, kind, component_id, data, output):
    answer = caller.submit(kind, component_id, data)
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    record = caller.end(answer.json()["execution_id"])
    assert (record["status"], record["output"], record["error"]) == ("completed", output, None)
    assert record["created_at"] < record["started_at"] < record["finished_at"]
    assert record["metrics"]["duration_seconds"] > 0


def test_inline_agent_answers_with_its_output(caller):
    body = {"input_data": {"name": "Ada"}, "execution_mode": "inline", "caller_deployment_id": None}
    answer = caller.post(f"{caller.inline}/agents/answer/execute", body)
    assert answer.status_code == 200
    assert answer.json() == {"output": {"text": "Hello Ada"}, "usage": None, "messages": None}


def test_failed_inline_agent_says_why_and_which_execution(caller):
    body = {"input_data": {}, "execution_mode": "inline", "caller_deployment_id": None}
    answer = caller.post(f"{caller.inline}/agents/fail/execute", body)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert detail["error"]["type"] == "ValueError"
    assert caller.record(detail["execution_id"]).json()["status"] == "failed"


def test_agent_is_executed_inline_only(caller):
    body = {"input_data": {}, "execution_mode": "isolated", "caller_deployment_id": None}
    answer = caller.post(f"{caller.inline}/agents/answer/execute", body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "execution_mode"]


def test_transform_answers_with_its_result(caller):
    body = {"input_data": [1, 2, 3.5], "caller_deployment_id": "d-1"}
    answer = caller.post(f"{caller.inline}/transforms/total/execute", body)
    assert (answer.status_code, answer.json()) == (200, 6.5)


def test_skills_by_version_and_of_the_last_one(caller):
    old = caller.get(f"{caller.org}/services/search/v1.1/skills.json")
    last = caller.get(f"{caller.org}/services/search/skills.json")
    assert old.json() == {"skills": []}
    assert last.json()["skills"][0]["name"] == "search"


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
    record = caller.run("workflows", "spawn", {"pids": str(pids), "seconds": 1.5}, timeout_seconds=1)
    assert record["status"] == "timeout"
    assert record["error"]["message"] == "The execution took longer than its timeout_seconds, 1."
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


# --- idempotency


def test_same_key_is_the_same_execution(caller):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _: caller.submit("code-blocks", "count-words", {"text": "once"}, headers=key).json(), range(8)
            )
        )
    assert len({answer["execution_id"] for answer in answers}) == 1
    record = caller.end(answers[0]["execution_id"])
    again = caller.submit("code-blocks", "count-words", {"text": "once"}, headers=key)
    assert (again.status_code, again.json()["execution_id"]) == (202, record["execution_id"])
    assert caller.record(record["execution_id"]).json() == record


def test_an_answer_says_whether_the_key_was_used_before(caller):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [caller.submit("code-blocks", "count-words", {"text": "once"}, headers=key) for _ in range(2)]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]


def test_same_key_with_another_body_is_refused(caller):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    assert caller.submit("workflows", "sleep", {"seconds": 0}, headers=key).status_code == 202
    again = caller.submit("workflows", "sleep", {"seconds": 0.1}, headers=key)
    assert again.status_code == 422
    assert "Idempotency-Key" in again.json()["detail"]


def test_same_key_on_another_path_is_another_execution(caller):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = caller.submit("workflows", "sleep", {"seconds": 0}, headers=key).json()
    second = caller.submit("agents", "answer", {"seconds": 0}, headers=key).json()
    assert first["execution_id"] != second["execution_id"]


def test_repeated_inline_call_attaches_to_the_first_run(caller):
    body = {"input_data": {}, "execution_mode": "inline", "caller_deployment_id": None}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    url = f"{caller.inline}/agents/fail/execute"
    details = [caller.post(url, body, **key).json()["detail"]["execution_id"] for _ in range(2)]
    assert details[0] == details[1]


# --- Prefer: wait


def test_wait_is_held_until_the_execution_changes(caller):
    execution_id = caller.submit("workflows", "sleep", {"seconds": 0.7}).json()["execution_id"]
    assert caller.until(execution_id, {"running"})["status"] == "running"
    answer = caller.record(execution_id, Prefer="respond-async, wait=20")
    assert answer.headers["Preference-Applied"] == "wait"
    assert answer.json()["status"] == "completed"
    assert answer.elapsed.total_seconds() < 15


def test_wait_ends_after_its_time_without_a_change(caller):
    execution_id = caller.submit("workflows", "sleep").json()["execution_id"]
    caller.until(execution_id, {"running"})
    answer = caller.record(execution_id, Prefer="wait=1")
    assert 1 <= answer.elapsed.total_seconds() < 15
    assert answer.json()["status"] == "running"
    caller.post(f"{caller.workspace}/executions/{execution_id}/cancel")


def test_wait_for_an_ended_execution_is_answered_at_once(caller, completed):
    answer = caller.record(completed["execution_id"], Prefer="wait=20")
    assert answer.elapsed.total_seconds() < 15
    assert answer.headers["Preference-Applied"] == "wait"


@pytest.mark.parametrize("prefer", ["return=minimal", "wait=soon", "await=3", "wait=-1"])
def test_other_preferences_are_not_applied(caller, completed, prefer):
    assert "Preference-Applied" not in caller.record(completed["execution_id"], Prefer=prefer).headers


# --- what is refused


@pytest.mark.parametrize(
    ("kind", "change", "place"),
    [
        ("code-blocks", {"ring_id": None}, ["body", "ring_id"]),
        ("code-blocks", {"ring_id": ""}, ["body", "ring_id"]),
        ("code-blocks", {"ring_id": "nobodys-ring"}, ["body", "ring_id"]),
        ("code-blocks", {"input_parameters": [1]}, ["body", "input_parameters"]),
        ("code-blocks", {"input_data": {}}, ["body", "input_data"]),
        ("workflows", {"input_data": "text"}, ["body", "input_data"]),
        ("workflows", {"timeout_seconds": 1e300}, ["body", "timeout_seconds"]),
        ("agents", {"lifecycle_event": ""}, ["body", "lifecycle_event"]),
        ("agents", {"config": None}, ["body", "config"]),
    ],
)
def test_unusable_body_is_refused_with_the_place(caller, kind, change, place):
    components = {"code-blocks": "count-words", "workflows": "sleep", "agents": "answer"}
    answer = caller.submit(kind, components[kind], **change)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place
    assert answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_number_that_json_has_not_is_refused(caller, number):
    body = '{"input_data": {"x": %s}, "config": {}, "lifecycle_event": "w", "ring_id": "ring-1", '
    answer = caller.session.post(
        f"{caller.workspace}/workflows/sleep/executions",
        data=body % number + '"timeout_seconds": 1}',
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body"]


def test_input_over_the_limit_of_nats_is_refused(caller):
    answer = caller.submit("workflows", "sleep", {"text": "x" * (1 << 20)})
    assert answer.status_code == 413
    assert "NATS allows 1048064" in answer.json()["detail"]


def test_what_is_not_there_is_404(caller):
    assert caller.submit("workflows", "nothing").status_code == 404
    assert caller.submit("code-blocks", "sleep").status_code == 404
    assert caller.record(uuid.uuid4()).status_code == 404
    assert caller.get(f"{caller.org}/services/nothing/skills.json").status_code == 404
    assert caller.get(f"{caller.org}/services/search/v9/skills.json").status_code == 404


@pytest.mark.parametrize("who", [{"org_id": "other"}, {"workspace_id": "other"}])
def test_execution_of_somebody_else_is_404(caller, completed, platform, who):
    execution_id = completed["execution_id"]
    headers = {"Authorization": f"Bearer {platform.issue_token(**who)}"}
    assert caller.record(execution_id, **headers).status_code == 404
    names = {"org_id": platform.org_id, "workspace_id": platform.workspace_id, **who}
    own = f"{platform.base_url}/api/v1/orgs/{names['org_id']}/workspaces/{names['workspace_id']}"
    assert caller.get(f"{own}/executions/{execution_id}", **headers).status_code == 404


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer not.a.token"])
def test_request_without_a_valid_token_is_401(caller, header):
    answer = caller.get(f"{caller.org}/services/search/skills.json", Authorization=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"]


def test_token_that_ended_or_was_signed_by_another_key_is_401(caller, platform):
    ended = platform.issue_token(expires_in=-1)
    payload = platform.auth_token.split(".")
    forged = ".".join([*payload[:2], payload[2][::-1]])
    for token in (ended, forged):
        answer = caller.get(f"{caller.org}/services/search/skills.json", Authorization=f"Bearer {token}")
        assert answer.status_code == 401
        assert token not in answer.text


def test_401_comes_before_any_look_at_the_body(caller):
    answer = caller.submit("workflows", "sleep", headers={"Authorization": ""}, ring_id=None)
    assert answer.status_code == 401


# --- headers


def test_request_id_is_given_back_or_made(caller):
    url = f"{caller.org}/services/search/skills.json"
    assert caller.get(url, **{"X-Request-Id": "r-1"}).headers["X-Request-Id"] == "r-1"
    assert uuid.UUID(caller.get(url).headers["X-Request-Id"])
    assert caller.get(url, Authorization="").headers["X-Request-Id"]


def test_token_that_is_about_to_end_is_renewed(caller, platform, monkeypatch):
    url = f"{caller.org}/services/search/skills.json"
    assert "X-Auth-Token" not in caller.get(url).headers
    issued_at = time.time() - 100
    with monkeypatch.context() as earlier:
        earlier.setattr(tokens.time, "time", lambda: issued_at)
        token = platform.issue_token(expires_in=110)
    renewed = caller.get(url, Authorization=f"Bearer {token}").headers["X-Auth-Token"]
    assert renewed != token
    assert caller.get(url, Authorization=f"Bearer {renewed}").status_code == 200
