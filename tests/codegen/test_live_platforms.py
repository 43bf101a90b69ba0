"""A client refreshed from a platform that knows nothing of it works with that platform."""

import ast
import json
from pathlib import Path

import pytest
from support.live_platforms import COMPONENT, ORG, STYLES, WORKSPACE, served
from support.size import few
from support.specifications import ACTIONS, OURS, ROOT, field, live, operation, put, refreshed, schema

from codegen.refresh import new_lock
from flow_client import models
from flow_client._api._generated import operations

CALLER = Path(__file__).parent / "programs" / "caller.py"
DEFAULTS = CALLER.with_name("defaults.py")


@pytest.mark.parametrize("style", STYLES)
def test_the_refreshed_client_works(package, style, capsys):
    app, engine = STYLES[style]()
    with served(app) as url:
        assert package.with_code().codegen("--spec", f"{url}/openapi.json") == 0
        report = capsys.readouterr().out
        found = package.run(CALLER, url, ORG, WORKSPACE, COMPONENT)

    assert found["package"].startswith(str(package.folder))
    assert found["ticket"][:2] == ["ExecutionAccepted", 3]
    assert found["record"] == ["ExecutionRecord", "completed", True, {"n": 1}, "eu"]
    assert found["promised"] == [None, None, None, None]
    assert found["id"] == ["str", True]
    assert (found["workflow"], found["agent"], found["cancel"]) == ("completed", "completed", "ExecutionCancellation")
    assert found["inline"] == {"said": {"a": 1}}
    assert found["transform"] == [1, None, {"x": 2.5}]
    assert found["skills"] == [{"skills": ["s"]}, {"skills": [3]}]
    assert found["refused"] == [
        *("InvalidRequestError", "InvalidRequestError", "ValidationError", "PlatformNotFoundError")
    ]
    assert found["kept"] == ["hibernating", False, {"red": 1}]
    assert found["retries"] == {each.operation_id: each.retry for each in operations.OPERATIONS}
    assert {*found["models"]} >= {*models.__all__}
    assert found["subjects"] == ["exec.input.{execution_id}", {}]
    _assert_each_post_came_twice_with_one_key(engine)
    assert all("priority" not in body or body["priority"] == 5 for body in engine.bodies)
    assert "not generated, the client does not know it: DELETE /orgs/{org_id}" in report
    assert "delete" not in (package.code / "_api" / "_generated" / "operations.py").read_text().lower()


def _assert_each_post_came_twice_with_one_key(engine):
    """Three submits, a cancellation and two inline calls: the first try of each got a 503."""
    keys = [key for _, key in engine.keys]
    assert len(keys) == 12
    assert all(len(key) == 36 for key in keys)
    assert all(keys.count(key) == 2 for key in keys)


@pytest.mark.soak
@pytest.mark.parametrize("style", few(["moved"], of=STYLES))
def test_a_second_refresh_changes_nothing(package, style, capsys):
    app, _ = STYLES[style]()
    with served(app) as url:
        package.codegen("--spec", f"{url}/openapi.json")
        first = _files(package)
        capsys.readouterr()
        assert package.codegen("--check", "--spec", f"{url}/openapi.json") == 0
        assert "nothing changed" in capsys.readouterr().out
        assert package.codegen("--spec", f"{url}/openapi.json") == 0
    assert _files(package) == first
    assert package.codegen("--check") == 0


def _files(package):
    return {path: path.read_bytes() for path in package.folder.rglob("*") if path.is_file()}


def test_the_local_platform_says_what_the_lock_says(package, platform, capsys):
    assert package.codegen("--check", "--spec", f"{platform.base_url}/openapi.json") == 0
    assert "nothing changed" in capsys.readouterr().out


def test_a_platform_may_have_something_else_in_place_of_what_is_optional():
    document = live()
    names = {"type": "array", "items": {"type": "string"}}
    answer = {"description": "Names.", "content": {"application/json": {"schema": names}}}
    document["paths"][f"{ROOT}/executions"] = {"get": {"responses": {"200": answer}}}
    lock, notes = new_lock(document, OURS, ACTIONS)
    path = next(path for path in lock["paths"] if path.endswith("/executions") and "get" in lock["paths"][path])
    kept = lock["paths"][path]["get"]
    assert (kept["operationId"], kept["x-undeclared"], kept["x-retry"]) == ("list_executions", True, "safe")
    assert any("is not the client's operation" in note for note in notes)


def test_a_check_writes_nothing(package, capsys):
    app, _ = STYLES["typed"]()
    before = _files(package)
    with served(app) as url:
        assert package.codegen("--check", "--spec", f"{url}/openapi.json") == 2
    assert _files(package) == before
    assert "ExecutionRecord.region: str, new" in capsys.readouterr().out


def test_other_names_do_not_hide_what_models_have(package):
    """A platform's `is_terminal` or `to_dict` gets a name of its own; a schema called `Any` too."""
    app, _ = STYLES["strict"]()
    with served(app) as url:
        package.codegen("--spec", f"{url}/openapi.json")
    code = (package.code / "_api" / "_generated" / "models.py").read_text()
    assert 'is_terminal_: Annotated[bool, Field(alias="is_terminal")]' in code
    assert 'job_id: Annotated[int, Field(alias="jobId")]' in code
    assert "class Any(" not in code
    assert "class Field(" not in code


def test_a_platforms_words_cannot_become_code(package, capsys):
    document = live()
    words = 'x"""\nimport nothing_like_this\n"""\\ \\N{x} {y} %s'
    schema(document, "Usage")["description"] = words
    field(document, "Usage", "cost")["description"] = words
    put(document, "CodeBlockRunCreate", "owner", type="string", pattern="^(?=x)", default=words)
    field(document, "CodeBlockRunCreate", "priority")["default"] = "none"
    field(document, "WorkflowRunCreate", "lifecycle_event")["enum"] = [words, 'a"b', "a'b"]
    field(document, "WorkflowRunCreate", "lifecycle_event")["default"] = words
    schema(document, "Usage")["properties"][words] = {"type": "string"}
    path = package.folder / "live.json"
    path.write_text(json.dumps(document))
    assert package.with_code().codegen("--spec", str(path)) == 0
    assert "pydantic cannot check the pattern '^(?=x)'; it is left out" in capsys.readouterr().out
    tree = ast.parse((package.code / "_api" / "_generated" / "models.py").read_text())
    imports = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imports == set()
    model = package.run(DEFAULTS)
    assert model == {"owner": words, "lifecycle_event": words}


def test_schemas_within_themselves_and_many_ways_to_one(package):
    """An alias for any JSON, as FastAPI writes it, and forty levels that each name the next twice."""
    document = live()
    json_alias = {"$ref": "#/components/schemas/Json"}
    document["components"]["schemas"]["Json"] = {
        "anyOf": [
            {"type": "object", "additionalProperties": {"anyOf": [json_alias, {"type": "null"}]}},
            {"type": "array", "items": json_alias},
            {"type": "string"},
        ]
    }
    for level in range(40):
        below = {"$ref": f"#/components/schemas/Level{level + 1}"}
        document["components"]["schemas"][f"Level{level}"] = {"type": "object", "properties": {"a": below, "b": below}}
    document["components"]["schemas"]["Level40"] = {"type": "object", "properties": {"x": {"type": "integer"}}}
    put(document, "Run", "output", **json_alias)
    put(document, "Run", "tree", **{"$ref": "#/components/schemas/Level0"})
    path = package.folder / "live.json"
    path.write_text(json.dumps(document))
    assert package.codegen("--spec", str(path)) == 0
    assert package.codegen("--check", "--spec", str(path)) == 0
    assert "class Level40(FlowModel)" in (package.code / "_api" / "_generated" / "models.py").read_text()


def test_three_answers_share_the_one_model_that_submits_return():
    document = live()
    document["components"]["schemas"]["AgentTicket"] = {
        "type": "object",
        "required": ["execution_id", "status", "container"],
        "properties": {
            "execution_id": {"type": "string", "format": "uuid"},
            "status": {"type": "string", "enum": ["accepted"]},
            "container": {"type": "string"},
            "queue_position": {"type": "string"},
        },
    }
    path = "/api/v1/orgs/{organization_id}/workspaces/{workspace}/agents/{agent}/executions"
    answer = operation(document, path, "post")["responses"]["202"]["content"]["application/json"]
    answer["schema"] = {"$ref": "#/components/schemas/AgentTicket"}
    accepted = schema(refreshed(document, OURS), "ExecutionAccepted")
    assert accepted["required"] == ["execution_id", "status"]
    assert accepted["properties"]["container"] == {"type": "string"}
    assert accepted["properties"]["queue_position"] == {"type": ["integer", "string", "null"]}
    known, anything = accepted["properties"]["status"]["anyOf"]
    assert {"pending", "paused", "accepted"} < {*known["enum"]}
    assert anything == {"type": "string"}
