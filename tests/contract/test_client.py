"""Each method's request, as CONTRACT section 1 writes it down: verb, path, body and headers over a real socket."""

import inspect
import re
from uuid import UUID

import numpy as np
import pytest
from support.http import Answer

from flow_client import InvalidRequestError, PlatformClient, PlatformClientError

UUID_1 = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
W = "/api/v1/orgs/org-1/workspaces/ws-1"
C = "/api/v1/component-execution"
ACCEPTED = Answer(202, {"execution_id": UUID_1, "status": "pending"})
COMPLETED = Answer(200, {"execution_id": UUID_1, "status": "completed", "output": 42})

REQUESTS = {
    "submit_code_block_execution": (
        lambda c: c.submit_code_block_execution("cb-1", {"a": 1}, ring_id="r-1"),
        ACCEPTED,
        *("POST", f"{W}/code-blocks/cb-1/executions"),
        {"input_parameters": {"a": 1}, "config": {}, "lifecycle_event": "workflow", "ring_id": "r-1"}
        | {"timeout_seconds": 300},
    ),
    "submit_workflow_execution": (
        lambda c: c.submit_workflow_execution("wf-1", {"a": 1}, {"b": 2}, "cron", "r-1", 2.5),
        ACCEPTED,
        *("POST", f"{W}/workflows/wf-1/executions"),
        {"input_data": {"a": 1}, "config": {"b": 2}, "lifecycle_event": "cron", "ring_id": "r-1"}
        | {"timeout_seconds": 2.5},
    ),
    "submit_agent_execution": (
        lambda c: c.submit_agent_execution("ag-1", {"a": 1}, ring_id="r-1"),
        ACCEPTED,
        *("POST", f"{W}/agents/ag-1/executions"),
        {"input_data": {"a": 1}, "config": {}, "lifecycle_event": "agent_run", "ring_id": "r-1"}
        | {"timeout_seconds": 300},
    ),
    "get_execution_status": (
        lambda c: c.get_execution_status(UUID(UUID_1)),
        COMPLETED,
        *("GET", f"{W}/executions/{UUID_1}", None),
    ),
    "cancel_execution": (
        lambda c: c.cancel_execution(UUID_1),
        Answer(200, {"status": "cancelled"}),
        *("POST", f"{W}/executions/{UUID_1}/cancel", None),
    ),
    "execute_agent inline": (
        lambda c: c.execute_agent("ag-1", {"a": 1}, {"ignored": True}),
        Answer(200, {"output": "hi", "usage": {}, "messages": []}),
        *("POST", f"{C}/agents/ag-1/execute"),
        {"input_data": {"a": 1}, "execution_mode": "inline", "caller_deployment_id": None},
    ),
    "execute_agent inline for a deployment": (
        lambda c: c.execute_agent("ag-1", {"a": 1}, {}, caller_deployment_id=UUID(UUID_1)),
        Answer(200, {"output": "hi", "usage": {}, "messages": []}),
        *("POST", f"{C}/agents/ag-1/execute"),
        {"input_data": {"a": 1}, "execution_mode": "inline", "caller_deployment_id": UUID_1},
    ),
    "execute_transform": (
        lambda c: c.execute_transform("tr-1", [1, None, "x"], {"ignored": True}, "dep-1"),
        Answer(200, [3]),
        *("POST", f"{C}/transforms/tr-1/execute"),
        {"input_data": [1, None, "x"], "caller_deployment_id": "dep-1"},
    ),
    "get_service_skills": (
        lambda c: c.get_service_skills("sv-1"),
        Answer(200, {"skills": []}),
        *("GET", "/api/v1/orgs/org-1/services/sv-1/skills.json", None),
    ),
    "get_service_skills of a version": (
        lambda c: c.get_service_skills("sv-1", version="1.2.0"),
        Answer(200, {"skills": []}),
        *("GET", "/api/v1/orgs/org-1/services/sv-1/v1.2.0/skills.json", None),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_request_is_the_contracts(name, client, http_server):
    call, answer, method, path, body = REQUESTS[name]
    http_server.queue(answer)
    call(client)
    (request,) = http_server.received
    assert (request.method, request.path) == (method, path)
    assert (request.json if request.body else None) == body
    assert request.headers["Authorization"] == "Bearer t-1"
    assert request.headers["Accept"] == "application/json"
    assert ("Idempotency-Key" in request.headers) == (method == "POST")
    assert ("Content-Type" in request.headers) == (body is not None)
    assert "X-Parent-Billing-Txn-Id" not in request.headers
    assert "X-Lifecycle-Event" not in request.headers


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_carries_the_billing_parent_and_the_lifecycle_event(name, make_client, http_server, monkeypatch):
    monkeypatch.setenv("PARENT_BILLING_TXN_ID", "txn-7")
    monkeypatch.setenv("LIFECYCLE_EVENT", "on_deploy")
    call, answer, *_ = REQUESTS[name]
    http_server.queue(answer)
    call(make_client())
    assert http_server.received[0].headers["X-Parent-Billing-Txn-Id"] == "txn-7"
    assert http_server.received[0].headers["X-Lifecycle-Event"] == "on_deploy"


def test_execute_code_block_submits_the_context_as_config_and_waits(client, http_server):
    http_server.queue(ACCEPTED, COMPLETED)
    record = client.execute_code_block("cb-1", {"a": 1}, {"tier": "gold"}, ring_id="r-1", timeout_seconds=30)
    submitted, looked = http_server.received
    assert record.output == 42
    assert submitted.json["config"] == {"tier": "gold"}
    assert submitted.json["timeout_seconds"] == 30
    assert (looked.method, looked.path) == ("GET", f"{W}/executions/{UUID_1}")
    assert looked.headers["Prefer"] == "wait=20"


@pytest.mark.parametrize(
    ("arguments", "config", "budget"),
    [
        ({}, {}, 300),
        ({"context": {"c": 1}}, {"c": 1}, 300),
        ({"context": {"c": 1}, "config": {"d": 2}}, {"d": 2}, 300),
        ({"context": {"c": 1}, "config": {}, "timeout_seconds": 7}, {}, 7),
    ],
)
def test_execute_workflow_sends_config_else_context_else_nothing(client, http_server, arguments, config, budget):
    http_server.queue(ACCEPTED, COMPLETED)
    client.execute_workflow("wf-1", {"a": 1}, ring_id="r-1", **arguments)
    assert http_server.received[0].json["config"] == config
    assert http_server.received[0].json["timeout_seconds"] == budget


def test_an_isolated_agent_is_submitted_and_waited_for(client, http_server):
    http_server.queue(ACCEPTED, COMPLETED)
    record = client.execute_agent("ag-1", {"a": 1}, {"c": 1}, execution_mode="isolated", ring_id="r-1")
    assert record.status == "completed"
    assert http_server.received[0].path == f"{W}/agents/ag-1/executions"
    assert http_server.received[0].json["config"] == {"c": 1}
    assert http_server.received[0].json["lifecycle_event"] == "agent_run"


def test_a_durable_execution_returns_a_failed_record_too(client, http_server):
    http_server.queue(ACCEPTED, Answer(200, {"execution_id": UUID_1, "status": "FAILED", "error": "boom", "new": 1}))
    record = client.execute_code_block("cb-1", {}, None, ring_id="r-1")
    assert (record.status, record.error, record.new) == ("FAILED", "boom", 1)


SIGNATURES = {
    "__init__": "base_url=None, auth_token=None, org_id=None, workspace_id=None, timeout=None,"
    " on_auth_token_refresh=None",
    "submit_code_block_execution": "code_block_id, input_parameters, config=None, lifecycle_event='workflow',"
    " ring_id=None, timeout_seconds=300",
    "submit_workflow_execution": "workflow_id, input_data, config=None, lifecycle_event='workflow', ring_id=None,"
    " timeout_seconds=300",
    "submit_agent_execution": "agent_id, input_data, config=None, lifecycle_event='agent_run', ring_id=None,"
    " timeout_seconds=300",
    "get_execution_status": "execution_id",
    "cancel_execution": "execution_id",
    "execute_agent": "agent_id, input_data, context, execution_mode='inline', caller_deployment_id=None,"
    " ring_id=None, timeout_seconds=300",
    "execute_transform": "transform_id, input_data, context, caller_deployment_id=None",
    "get_service_skills": "service_id, *, version=None",
    "execute_code_block": "code_block_id, input_parameters, context, scope='workspace', lifecycle_event='workflow',"
    " timeout_seconds=300, caller_deployment_id=None, ring_id=None",
    "execute_workflow": "workflow_id, input_data, context=None, config=None, auto_deploy=True,"
    " lifecycle_event='workflow', caller_deployment_id=None, ring_id=None, timeout_seconds=None",
    "await_execution_result": "execution_id, *, timeout_seconds=300, poll_interval_seconds=None,"
    " not_found_retry_seconds=30.0",
    "fetch_execution_input": "deployment_id, execution_id",
    "push_execution_output": "deployment_id, execution_id, output, usage=None, messages=None, state=None, error=None",
    "push_execution_event": "deployment_id, execution_id, event_type, event_data",
    "publish_execution_status": "execution_id, status",
    "close": "",
    "aclose": "",
    "__enter__": "",
}


@pytest.mark.parametrize("method", SIGNATURES)
def test_names_order_and_defaults_are_the_contracts(method):
    parameters = list(inspect.signature(getattr(PlatformClient, method)).parameters.values())[1:]
    wanted = re.split(r", ", SIGNATURES[method]) if SIGNATURES[method] else []
    keyword_only = wanted.index("*") if "*" in wanted else len(wanted)
    for position, text in enumerate(each for each in wanted if each != "*"):
        name, _, default = text.partition("=")
        found = parameters[position]
        assert found.name == name
        assert (found.kind is inspect.Parameter.KEYWORD_ONLY) == (position >= keyword_only)
        # The contract's literals: None, True, numbers and quoted words.
        literal = {"": inspect.Parameter.empty, "None": None, "True": True}.get(default, default.strip("'"))
        assert found.default == (float(literal) if str(literal).replace(".", "").isdigit() else literal)
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[len([w for w in wanted if w != "*"]) :])


BAD_IDS = ["a/b", "..", "a?b", "a b", "a\n", "*", ">", "a.b", "", " ", "ä", "x" * 129, None, 7]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda c, x: c.submit_code_block_execution(x, {}, ring_id="r"),
        lambda c, x: c.submit_workflow_execution(x, {}, ring_id="r"),
        lambda c, x: c.submit_agent_execution(x, {}, ring_id="r"),
        lambda c, x: c.get_execution_status(x),
        lambda c, x: c.cancel_execution(x),
        lambda c, x: c.execute_agent(x, {}, {}),
        lambda c, x: c.execute_transform(x, {}, {}),
        lambda c, x: c.get_service_skills(x),
        lambda c, x: c.await_execution_result(x),
        lambda c, x: c.execution(x),
    ],
)
def test_an_id_that_is_not_valid_is_refused_before_anything_is_sent(client, http_server, call, bad):
    with pytest.raises(PlatformClientError, match=r"^\w+_id is .*must be a UUID or a string"):
        call(client, bad)
    assert http_server.received == []


@pytest.mark.parametrize("version", ["..", "1..2", "1/2", "", "1 2", "a" * 40])
def test_a_version_that_is_not_valid_is_refused(client, http_server, version):
    with pytest.raises(PlatformClientError, match="version"):
        client.get_service_skills("sv-1", version=version)
    assert http_server.received == []


@pytest.mark.parametrize(("version", "segment"), [(3, "v3"), (0, "v0"), ("3", "v3"), (np.int64(7), "v7")])
def test_a_version_is_a_whole_number_or_text(client, http_server, version, segment):
    http_server.queue(Answer(200, {"skills": []}))
    assert client.get_service_skills("sv-1", version=version) == {"skills": []}
    assert http_server.received[0].path == f"/api/v1/orgs/org-1/services/sv-1/{segment}/skills.json"


@pytest.mark.parametrize("version", [3.0, True, -1, b"3", [3]])
def test_a_version_of_another_type_is_refused(client, http_server, version):
    with pytest.raises(InvalidRequestError, match=r"version is .*; it must be a whole number such as 3, or text"):
        client.get_service_skills("sv-1", version=version)
    assert http_server.received == []


@pytest.mark.parametrize("submit", [name for name in SIGNATURES if name.startswith("submit")])
def test_a_submit_without_a_ring_is_refused(client, http_server, submit):
    with pytest.raises(PlatformClientError, match="ring_id"):
        getattr(client, submit)("x-1", {})
    assert http_server.received == []


@pytest.mark.parametrize(("missing", "variable"), [("org_id", "ORG_ID"), ("workspace_id", "WORKSPACE_ID")])
def test_a_path_without_its_organisation_or_workspace_is_refused(make_client, http_server, missing, variable):
    client = make_client(**{missing: None})
    with pytest.raises(PlatformClientError, match=f"{missing}=.*{variable}"):
        client.get_execution_status(UUID_1)
    assert http_server.received == []


def test_a_component_call_needs_neither_organisation_nor_workspace(make_client, http_server):
    http_server.queue(Answer(200, {"x": 1}))
    assert make_client(org_id=None, workspace_id=" ").execute_transform("tr-1", 1, None) == {"x": 1}


def test_the_organisation_is_stripped(make_client, http_server):
    make_client(org_id=" org-1\n").get_execution_status("e-1")
    assert http_server.received[0].path == f"{W}/executions/e-1"
