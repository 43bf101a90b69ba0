"""What the local platform answers is what `openapi.yaml` says, checked with jsonschema and none of our own models."""

import re
import time
from pathlib import Path

import openapi_spec_validator
import pytest
import requests
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from flow_client.local.settings import DEFAULT_RING_ID

ROOT = Path(__file__).parents[2]
SPEC = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, item in SPEC["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post")
}
SUBMITTED = {"config": {}, "lifecycle_event": "workflow", "ring_id": DEFAULT_RING_ID, "timeout_seconds": 30}
CALLED = {"input_data": {}, "execution_mode": "inline", "caller_deployment_id": None}


@pytest.fixture(scope="module")
def call(platform):
    """A function that calls an operation by its id and validates the answer, whatever its status."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {platform.auth_token}"

        def send(operation_id, body=None, headers=None, **names):
            method, path, operation = OPERATIONS[operation_id]
            names = {"org_id": platform.org_id, "workspace_id": platform.workspace_id, **names}
            url = platform.base_url + path.format(**names)
            answer = session.request(method, url, json=body, headers=headers, timeout=60)
            validate(operation, answer)
            return answer

        yield send


def resolve(node):
    while "$ref" in node:
        *_, kind, name = node["$ref"].split("/")
        node = SPEC["components"][kind][name]
    return node


def validate(operation, answer):
    responses = operation["responses"]
    response = resolve(responses.get(str(answer.status_code), responses["default"]))
    if str(answer.status_code) not in responses:
        assert answer.status_code >= 400
    content_type = answer.headers["Content-Type"].partition(";")[0]
    schema = response["content"][content_type]["schema"]
    validator = Draft202012Validator({**SPEC, **schema}, format_checker=FormatChecker())
    validator.validate(answer.json())


def ended(call, execution_id):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        record = call("get_execution_status", execution_id=execution_id, headers={"Prefer": "wait=10"}).json()
        if record["finished_at"]:
            return record
    raise AssertionError("the execution did not end")


@pytest.mark.parametrize(
    ("operation_id", "name", "component_id", "field"),
    [
        ("submit_code_block_execution", "code_block_id", "count-words", "input_parameters"),
        ("submit_workflow_execution", "workflow_id", "crash", "input_data"),
        ("submit_workflow_execution", "workflow_id", "fail", "input_data"),
        ("submit_agent_execution", "agent_id", "answer", "input_data"),
    ],
)
def test_executions_from_submission_to_end(call, operation_id, name, component_id, field):
    data = {"text": "a b"} if component_id == "count-words" else {}
    accepted = call(operation_id, {field: data, **SUBMITTED}, **{name: component_id})
    assert accepted.status_code == 202
    record = ended(call, accepted.json()["execution_id"])
    assert record["execution_id"] == accepted.json()["execution_id"]


def test_timeout_and_cancel(call):
    body = {"input_data": {"seconds": 30}, **SUBMITTED, "timeout_seconds": 0.5}
    timed = call("submit_workflow_execution", body, workflow_id="sleep").json()
    assert ended(call, timed["execution_id"])["status"] == "timeout"
    body = {"input_data": {"seconds": 30}, **SUBMITTED}
    running = call("submit_workflow_execution", body, workflow_id="sleep").json()
    assert call("cancel_execution", execution_id=running["execution_id"]).status_code == 200
    assert ended(call, running["execution_id"])["status"] == "cancelled"


def test_inline_calls(call):
    answered = call("execute_agent", CALLED, agent_id="answer")
    assert answered.status_code == 200, answered.text
    assert call("execute_agent", CALLED, agent_id="fail").status_code == 422
    body = {"input_data": [1, 2], "caller_deployment_id": None}
    assert call("execute_transform", body, transform_id="total").status_code == 200


def test_list_and_logs(call):
    accepted = call(
        "submit_code_block_execution", {"input_parameters": {"text": "a"}, **SUBMITTED}, code_block_id="count-words"
    )
    record = ended(call, accepted.json()["execution_id"])
    assert record["logs"] == ""
    assert call("list_executions").json()["executions"]
    assert call("get_execution_logs", execution_id=record["execution_id"]).json()["logs"] == ""


def test_skills(call):
    assert call("get_service_skills", service_id="search").status_code == 200
    assert call("get_service_skills_version", service_id="search", version="1.1").status_code == 200


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_refusals(call, operation_id):
    names = dict.fromkeys(
        ("code_block_id", "workflow_id", "agent_id", "transform_id", "execution_id", "service_id", "version"), "none"
    )
    takes_body = "requestBody" in OPERATIONS[operation_id][2]
    assert call(operation_id, headers={"Authorization": ""}, **names).status_code == 401
    if operation_id == "list_executions":  # its path names nothing that could be missing or malformed
        return
    assert call(operation_id, {"odd": 1}, **names).status_code == (422 if takes_body else 404)
    wildcards = {**dict.fromkeys(names, "*"), "version": "1..2"}
    assert call(operation_id, {}, **wildcards).status_code == 422


def test_platforms_own_specification_has_the_same_operations(platform):
    own = requests.get(f"{platform.base_url}/openapi.json", timeout=10).json()
    openapi_spec_validator.validate(own)
    assert all(_declared(path, item) for path, item in own["paths"].items())
    found = {
        operation["operationId"]: (method, path, operation["x-retry"])
        for path, item in own["paths"].items()
        for method, operation in item.items()
    }
    assert found == {
        name: (method, path, operation["x-retry"]) for name, (method, path, operation) in OPERATIONS.items()
    }


def _declared(path, item):
    """Return whether each operation declares the parameters of its path, once each."""
    holes = sorted(re.findall(r"{(\w+)}", path))
    declared = [sorted(each["name"] for each in node["parameters"] if each["in"] == "path") for node in item.values()]
    return all(names == holes for names in declared)
