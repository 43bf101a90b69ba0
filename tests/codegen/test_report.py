"""What the report says of sixty changes to a live specification: breaking, compatible, or nothing at all."""

import json

import pytest
from support.live_platforms import downgraded, inlined, served, typed
from support.specifications import CANCEL, STATUS, SUBMIT, field, live, locked, operation, put, refreshed, schema

from codegen import changes, overlay, report
from codegen.__main__ import DEFAULT_OVERLAY

NULL = {"type": "null"}
CODE_BLOCK, WORKFLOW = "CodeBlockRunCreate", "WorkflowRunCreate"


def required(document, name, *fields):
    schema(document, name)["required"] = [*schema(document, name)["required"], *fields]


def optional(document, name, of):
    schema(document, name)["required"].remove(of)


def parameter(document, path, method, **what):
    operation(document, path, method)["parameters"].append({"schema": {"type": "string"}, **what})


def moved(document, root):
    document["paths"] = {path.replace("/api/v1", root): item for path, item in document["paths"].items()}


BREAKING = {
    "an answer loses a field": (
        lambda d: [schema(d, "Run")["properties"].pop("region"), optional(d, "Run", "region")],
        "ExecutionRecord.region",
    ),
    "an answer loses a field that the client reads": (
        lambda d: schema(d, "Run")["properties"].pop("metrics"),
        "ExecutionRecord.metrics",
    ),
    "an answer's field becomes optional": (lambda d: optional(d, "Run", "region"), "ExecutionRecord.region"),
    "an answer's field may be null": (
        lambda d: put(d, "Run", "region", anyOf=[{"type": "string"}, NULL]),
        "ExecutionRecord.region",
    ),
    "an answer's field has another type": (lambda d: put(d, "Run", "region", type="integer"), "ExecutionRecord.region"),
    "an answer's field has one more type": (
        lambda d: put(d, "Tokens", "input_tokens", type=["integer", "string"], default=0),
        "UsageTokens.input_tokens",
    ),
    "an answer's object becomes text": (lambda d: put(d, "Run", "usage", type="string"), "ExecutionRecord.usage"),
    "an answer's field may be anything": (lambda d: put(d, "Run", "region"), "ExecutionRecord.region"),
    "an answer's value is gone": (
        lambda d: schema(d, "Status")["enum"].remove("dead_letter"),
        "ExecutionRecord.status",
    ),
    "an inner field is gone": (lambda d: schema(d, "Usage")["properties"].pop("cost"), "Usage.cost"),
    "a request asks for a new field": (
        lambda d: [put(d, CODE_BLOCK, "tenant", type="string"), required(d, CODE_BLOCK, "tenant")],
        "CodeBlockExecutionRequest.tenant",
    ),
    "a request's field becomes required": (
        lambda d: required(d, CODE_BLOCK, "priority"),
        "CodeBlockExecutionRequest.priority",
    ),
    "a request loses a field": (
        lambda d: [schema(d, CODE_BLOCK)["properties"].pop("ring_id"), optional(d, CODE_BLOCK, "ring_id")],
        "CodeBlockExecutionRequest.ring_id",
    ),
    "a request's field may not be null": (
        lambda d: put(d, WORKFLOW, "config", type="object"),
        "WorkflowExecutionRequest.config",
    ),
    "a request's value is gone": (
        lambda d: field(d, WORKFLOW, "lifecycle_event")["enum"].remove("schedule"),
        "WorkflowExecutionRequest.lifecycle_event",
    ),
    "a request's type gets narrower": (
        lambda d: put(d, CODE_BLOCK, "timeout_seconds", type="integer", default=300, exclusiveMinimum=0),
        "CodeBlockExecutionRequest.timeout_seconds",
    ),
    "a request's bound gets tighter": (
        lambda d: field(d, CODE_BLOCK, "owner").update(maxLength=10),
        "CodeBlockExecutionRequest.owner",
    ),
    "a request's field gets a pattern": (
        lambda d: field(d, CODE_BLOCK, "ring_id").update(pattern="^r"),
        "CodeBlockExecutionRequest.ring_id",
    ),
    "a request's default changes": (
        lambda d: field(d, CODE_BLOCK, "priority").update(default=9),
        "CodeBlockExecutionRequest.priority",
    ),
    "an operation is gone": (
        lambda d: d["paths"].pop("/api/v1/orgs/{org}/services/{service}/skills.json"),
        "PlatformClient.get_service_skills",
    ),
    "all operations move": (lambda d: moved(d, "/api/v9"), "PlatformClient.get_execution_status"),
    "a query parameter is asked for": (
        lambda d: parameter(d, STATUS, "get", **{"name": "view", "in": "query", "required": True}),
        "PlatformClient.get_execution_status(view)",
    ),
    "a header is asked for": (
        lambda d: parameter(d, SUBMIT, "post", **{"name": "X-Tenant", "in": "header", "required": True}),
        "PlatformClient.submit_code_block_execution(X-Tenant)",
    ),
    "a cancellation asks for a body": (
        lambda d: operation(d, CANCEL, "post").update(
            requestBody={
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"reason": {"type": "string"}},
                            "required": ["reason"],
                        }
                    }
                }
            }
        ),
        "PlatformClient.cancel_execution",
    ),
}

COMPATIBLE = {
    "an answer has a new field": (lambda d: put(d, "Run", "zone", type="string"), "ExecutionRecord.zone"),
    "an answer has a new field that is always there": (
        lambda d: [put(d, "Run", "zone", type="string"), required(d, "Run", "zone")],
        "ExecutionRecord.zone",
    ),
    "an answer has a new object": (
        lambda d: put(d, "Run", "bill", type="object", properties={"total": {"type": "number"}}),
        "ExecutionRecord.bill",
    ),
    "an answer's field is always there": (lambda d: required(d, "Run", "state"), "ExecutionRecord.state"),
    "an answer's field is never null": (
        lambda d: put(d, "Run", "started_at", type="string", format="date-time"),
        "ExecutionRecord.started_at",
    ),
    "an answer has a new value": (lambda d: schema(d, "Status")["enum"].append("archived"), "ExecutionRecord.status"),
    "an answer's type gets narrower": (
        lambda d: put(d, "Usage", "cost", anyOf=[{"type": "integer"}, NULL]),
        "Usage.cost",
    ),
    "an answer's free JSON becomes an object": (
        lambda d: put(d, "Run", "output", anyOf=[{"type": "object"}, NULL]),
        "ExecutionRecord.output",
    ),
    "a request has a new field": (
        lambda d: put(d, CODE_BLOCK, "tenant", type="string"),
        "CodeBlockExecutionRequest.tenant",
    ),
    "a request's field becomes optional": (
        lambda d: optional(d, CODE_BLOCK, "ring_id"),
        "CodeBlockExecutionRequest.ring_id",
    ),
    "a request's field may be null": (
        lambda d: put(d, CODE_BLOCK, "ring_id", anyOf=[{"type": "string", "minLength": 1}, NULL]),
        "CodeBlockExecutionRequest.ring_id",
    ),
    "a request has a new value": (
        lambda d: field(d, WORKFLOW, "lifecycle_event")["enum"].append("nightly"),
        "WorkflowExecutionRequest.lifecycle_event",
    ),
    "a request's type gets wider": (
        lambda d: put(d, CODE_BLOCK, "priority", type=["integer", "string"], default=5),
        "CodeBlockExecutionRequest.priority",
    ),
    "a request's bound gets looser": (
        lambda d: field(d, CODE_BLOCK, "owner").update(maxLength=200),
        "CodeBlockExecutionRequest.owner",
    ),
    "a request's pattern is gone": (
        lambda d: field(d, CODE_BLOCK, "owner").pop("pattern"),
        "CodeBlockExecutionRequest.owner",
    ),
    "a request's field gets a default": (
        lambda d: field(d, CODE_BLOCK, "owner").update(default="me"),
        "CodeBlockExecutionRequest.owner",
    ),
    "success has another code": (
        lambda d: operation(d, SUBMIT, "post")["responses"].update(
            {"201": operation(d, SUBMIT, "post")["responses"].pop("202")}
        ),
        "PlatformClient.submit_code_block_execution",
    ),
    "429 is declared": (
        lambda d: operation(d, SUBMIT, "post")["responses"].update({"429": {"description": "Slow."}}),
        "PlatformClient.submit_code_block_execution",
    ),
    "409 is declared": (
        lambda d: operation(d, SUBMIT, "post")["responses"].update({"409": {"description": "Twice."}}),
        "PlatformClient.submit_code_block_execution",
    ),
    "404 is not declared any more": (
        lambda d: operation(d, STATUS, "get")["responses"].pop("404"),
        "PlatformClient.get_execution_status",
    ),
    "there is a query parameter": (
        lambda d: parameter(d, STATUS, "get", **{"name": "view", "in": "query"}),
        "PlatformClient.get_execution_status(view)",
    ),
    "there is a header": (
        lambda d: parameter(d, SUBMIT, "post", **{"name": "X-Tenant", "in": "header"}),
        "PlatformClient.submit_code_block_execution(X-Tenant)",
    ),
    "a query parameter is gone": (
        lambda d: operation(d, STATUS, "get")["parameters"].pop(),
        "PlatformClient.get_execution_status(fields)",
    ),
}


def renamed(document, old="Run", new="app__schemas__Execution-Output"):
    text = json.dumps(document).replace(f'schemas/{old}"', f'schemas/{new}"')
    document.clear()
    document.update(json.loads(text))
    document["components"]["schemas"][new] = document["components"]["schemas"].pop(old)


def everywhere(document, **what):
    for each in document["components"]["schemas"].values():
        each.update(what)
        for inner in each.get("properties", {}).values():
            inner.update(what)


def backwards(node):
    if isinstance(node, dict):
        return {key: backwards(node[key]) for key in reversed(node)}
    return [backwards(each) for each in node] if isinstance(node, list) else node


def replaced(document, other):
    document.clear()
    document.update(other)


def renamed_parameters(document):
    replaced(document, json.loads(json.dumps(document).replace("{run_id}", "{id}").replace('"run_id"', '"id"')))


def dropped(document, code):
    for item in document["paths"].values():
        for each in item.values():
            each["responses"].pop(code, None)


def operations(document):
    return [(path, method, each) for path, item in document["paths"].items() for method, each in item.items()]


COSMETIC = {
    "a schema has another name": renamed,
    "every order is reversed": lambda d: replaced(d, backwards(d)),
    "titles": lambda d: everywhere(d, title="Other"),
    "descriptions": lambda d: everywhere(d, description="Other words."),
    "examples": lambda d: everywhere(d, examples=["x"], example="y"),
    "references are inlined": lambda d: replaced(d, inlined(d)),
    "OpenAPI 3.0": lambda d: replaced(d, downgraded(d)),
    "422 is dropped": lambda d: dropped(d, "422"),
    "an operation that is not ours": lambda d: d["paths"].update({"/api/v1/users": {"delete": {"responses": {}}}}),
    "path parameters have other names": renamed_parameters,
    "operation ids": lambda d: [each.update(operationId=f"op{n}") for n, (*_, each) in enumerate(operations(d))],
    "tags and summaries": lambda d: [each.update(tags=["x"], summary="Other") for *_, each in operations(d)],
    "another host": lambda d: d.update(servers=[{"url": "https://other.example.com"}]),
    "the root in the server's URL": lambda d: [
        d.update(servers=[{"url": "https://x.example.com/api/v1"}]),
        moved(d, ""),
    ],
    "another version": lambda d: d["info"].update(version="99", title="Renamed"),
    "null first": lambda d: put(d, "Run", "state", anyOf=[NULL, {"type": "object"}]),
    "null as a type": lambda d: put(d, "Run", "state", type=["null", "object"], additionalProperties=True),
    "oneOf": lambda d: put(d, "Run", "usage", oneOf=[{"$ref": "#/components/schemas/Usage"}, NULL]),
    "allOf around a reference": lambda d: put(
        d, "Run", "status", allOf=[{"$ref": "#/components/schemas/Status"}], title="S"
    ),
    "a base class": lambda d: d["components"]["schemas"].update(
        Run={
            "allOf": [
                {"$ref": "#/components/schemas/Base"},
                {
                    **schema(d, "Run"),
                    "properties": {k: v for k, v in schema(d, "Run")["properties"].items() if k != "region"},
                },
            ]
        },
        Base={"type": "object", "properties": {"region": {"type": "string"}}},
    ),
    "no format of an id": lambda d: put(d, "Run", "execution_id", type="string"),
    "a null default": lambda d: put(
        d, "Run", "started_at", anyOf=[{"type": "string", "format": "date-time"}, NULL], default=None
    ),
    "answers are open": lambda d: schema(d, "Run").update(additionalProperties=True),
    "a schema that nobody uses": lambda d: d["components"]["schemas"].update(Unused={"type": "string"}),
    "deprecation and read-only marks": lambda d: field(d, "Run", "region").update(deprecated=True, readOnly=True),
}


def changed(change):
    document = live()
    change(document)
    new = refreshed(document, locked())
    return new, changes.compare(locked(), new)


def test_there_are_sixty_seeded_changes():
    assert min(len(BREAKING), len(COMPATIBLE), len(COSMETIC)) >= 20


@pytest.mark.parametrize("name", BREAKING)
def test_what_can_break_a_caller_is_marked(name):
    change, attribute = BREAKING[name]
    _, found = changed(change)
    assert report.exit_code(found) == 2
    assert attribute in {each.attribute for each in found if each.breaking}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_what_breaks_nobody_is_said_and_not_marked(name):
    change, attribute = COMPATIBLE[name]
    _, found = changed(change)
    assert [each.text for each in found if each.breaking] == []
    assert report.exit_code(found) == 1
    assert attribute in {each.attribute for each in found}


@pytest.mark.parametrize("name", COSMETIC)
def test_what_means_the_same_is_no_change(name):
    new, found = changed(COSMETIC[name])
    assert found == []
    assert json.dumps(new) == json.dumps(locked())


def test_the_text_has_three_parts_with_what_breaks_first():
    def change(document):
        put(document, "Run", "zone", type="string")
        optional(document, "Run", "region")
        operation(document, SUBMIT, "post")["responses"]["429"] = {"description": "Slow."}

    _, found = changed(change)
    lines = report.as_text("Acme 7", found, ["a note"]).splitlines()
    assert lines[0] == "Acme 7: 2 can break a caller (\N{WARNING SIGN}), 3 compatible"
    place = "GET …/{workspace_id}/executions/{execution_id} answer"
    method = "PlatformClient.submit_code_block_execution"
    path = "/api/v1/orgs/{org_id}/workspaces/{workspace_id}/code-blocks/{code_block_id}/executions"
    assert lines[2:] == [
        "Wire",
        f"  (\N{WARNING SIGN}) {place}: `region` is optional now (ExecutionRecord.region)",
        f"      {place}: `zone` is new (ExecutionRecord.zone)",
        "",
        "Python",
        "  (\N{WARNING SIGN}) ExecutionRecord.region: str -> str | None",
        "      ExecutionRecord.zone: str | None, new",
        "",
        "Behaviour",
        f"      POST {path}: may answer 429 ({method} waits as Retry-After says and tries again)",
        "",
        "Notes",
        "      a note",
    ]


def test_the_report_as_json(package, capsys):
    app, _ = typed()
    with served(app) as url:
        assert package.codegen("--check", "--json", "--spec", f"{url}/openapi.json") == 2
        said = json.loads(capsys.readouterr().out)
        assert (said["platform"], said["exit_code"]) == ("Acme Runs 7.1.0", 2)
        assert {each["part"] for each in said["changes"]} == {"wire", "python", "behaviour"}
        region = next(each for each in said["changes"] if each["attribute"] == "ExecutionRecord.region")
        assert (region["rule"], region["breaking"]) == ("field-added", False)
        assert package.codegen("--spec", f"{url}/openapi.json") == 0
        capsys.readouterr()
        assert package.codegen("--check", "--json", "--spec", f"{url}/openapi.json") == 0
    assert json.loads(capsys.readouterr().out)["changes"] == []


def test_what_went_and_comes_back_is_said_each_time():
    def without(document):
        document["paths"].pop("/api/v1/orgs/{org}/services/{service}/skills.json")
        schema(document, "Run")["properties"].pop("metrics")

    gone, _ = changed(without)
    again = refreshed(live(), gone)
    document = live()
    without(document)
    assert changes.compare(gone, refreshed(document, gone)) == []
    found = changes.compare(gone, again)
    assert {each.attribute for each in found} == {"PlatformClient.get_service_skills", "ExecutionRecord.metrics"}
    assert report.exit_code(found) == 1
    assert json.dumps(again) == json.dumps(locked())


def test_a_retry_class_that_is_lost_is_said(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text(DEFAULT_OVERLAY.read_text().replace("update: {x-retry: safe}", "update: {x-other: 1}"))
    found = changes.compare(locked(), refreshed(live(), locked(), overlay.read(path)))
    assert {each.rule for each in found} == {"retry-class-changed"}
    assert report.exit_code(found) == 2
