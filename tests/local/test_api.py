"""The local platform's API over plain HTTP, with real workers."""

import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Timer

import pytest

from flow_client.local import tokens

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


def test_wait_is_held_until_the_execution_changes(caller, tmp_path):
    file = tmp_path / "file"
    execution_id = caller.submit("workflows", "wait-for-file", {"file": str(file)}).json()["execution_id"]
    assert caller.until(execution_id, {"running"})["status"] == "running"
    Timer(0.5, file.touch).start()
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


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_no_input_can_need_is_refused_and_not_kept(caller, is_chunked):
    blocks = [b" " * (1 << 20)] * 8
    url = f"{caller.workspace}/workflows/sleep/executions"
    headers = {"Content-Type": "application/json"}
    body = iter(blocks) if is_chunked else b"".join(blocks)
    answer = caller.session.post(url, data=body, headers=headers, timeout=30)
    assert answer.status_code == 413
    assert "larger than 4194304 bytes" in answer.json()["detail"]
    assert answer.headers["X-Request-Id"]


def test_a_key_of_another_organisation_is_another_key(caller, platform):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = caller.submit("code-blocks", "count-words", {"text": "once"}, headers=key).json()
    token = platform.issue_token(org_id="other")
    url = f"{platform.base_url}/api/v1/orgs/other/workspaces/{platform.workspace_id}/code-blocks/count-words/executions"
    answer = caller.post(url, caller.body("code-blocks", {"text": "twice"}), **key, Authorization=f"Bearer {token}")
    assert answer.status_code == 202
    assert answer.json()["execution_id"] != first["execution_id"]


def test_a_header_without_end_is_refused(platform):
    port = int(platform.base_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Request-Id: " + b"x" * 70_000)
        assert connection.recv(12) == b"HTTP/1.1 400"


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
