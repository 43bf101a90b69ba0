"""The lock and what is generated from it: deterministic, watchful, strict about what the client needs to know."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate
from pydantic_core import from_json
from support.http import Answer

from codegen import reading, spec
from codegen.__main__ import DEFAULT_LOCK, DEFAULT_OUTPUT, main
from codegen.document import resolve
from codegen.naming import attribute
from flow_client import models
from flow_client._api._generated import models as generated_models
from flow_client._api._generated import operations

DOCUMENT = reading.read(str(DEFAULT_LOCK))
MODULES = ("_api/_generated/models.py", "_api/_generated/operations.py", "models.py")


@pytest.fixture
def generated(tmp_path):
    """A copy of the package with the generated modules."""
    return shutil.copytree(DEFAULT_OUTPUT, tmp_path / "flow_client")


@pytest.fixture
def changed(tmp_path):
    """Writes a changed copy of the specification."""

    def write(change):
        document = copy.deepcopy(DOCUMENT)
        change(document)
        path = tmp_path / "openapi.yaml"
        path.write_text(json.dumps(document))
        return str(path)

    return write


def first_operation(document):
    return document["paths"]["/api/v1/component-execution/transforms/{transform_id}/execute"]["post"]


def test_the_specification_is_valid():
    validate(DOCUMENT)


def test_what_stands_there_is_what_is_generated(capsys):
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_another_run_writes_the_same_bytes(tmp_path):
    assert main(["--output", str(tmp_path)]) == 0
    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.py")}
    assert written == {name: (DEFAULT_OUTPUT / name).read_bytes() for name in MODULES}


def test_drift_is_found_and_shown(generated, capsys):
    for name in MODULES:
        path = generated / name
        path.write_text(path.read_text() + f"# a hand edit of {name}\n")
    assert main(["--check", "--output", str(generated)]) == 1
    shown = capsys.readouterr().out
    for name in MODULES:
        assert f"-# a hand edit of {name}\n" in shown
        assert (generated / name).read_text().endswith(f"# a hand edit of {name}\n")


def test_a_new_field_is_drift(changed, capsys):
    def add(document):
        document["components"]["schemas"]["ExecutionAccepted"]["properties"]["queue"] = {"type": "integer"}

    assert main(["--check", "--lock", changed(add)]) == 1
    assert "+    queue: int | None = None" in capsys.readouterr().out


REFUSED = {
    "an unknown retry class": (lambda d: first_operation(d).update({"x-retry": "always"}), "x-retry"),
    "no operation id": (lambda d: first_operation(d).pop("operationId"), "operationId"),
    "an operation id twice": (lambda d: first_operation(d).update(operationId="execute_agent"), "more than once"),
    "a path parameter that is not in the path": (
        lambda d: first_operation(d)["parameters"].append(dict(first_operation(d)["parameters"][0], name="org_id")),
        "path parameters",
    ),
    "a hole in the path without a parameter": (
        lambda d: d["paths"].update({"/x/{hole}": {"get": dict(first_operation(d), operationId="x")}}),
        "path parameters",
    ),
    "a path parameter without a pattern": (
        lambda d: first_operation(d)["parameters"][0]["schema"].pop("pattern"),
        "pattern",
    ),
    "two success codes": (lambda d: first_operation(d)["responses"].update({"201": {}}), "exactly one 2xx"),
    "a reference that leads nowhere": (
        lambda d: first_operation(d).update(parameters=[{"$ref": "#/components/parameters/Nothing"}]),
        "leads nowhere",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_specification_that_lacks_something_is_refused(changed, capsys, tmp_path, name):
    change, message = REFUSED[name]
    output = tmp_path / "output"
    assert main(["--lock", changed(change), "--output", str(output)]) == 3
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_file_that_is_no_specification_is_refused(tmp_path, capsys):
    path = tmp_path / "other.yaml"
    path.write_text("a: 1")
    assert main(["--lock", str(path)]) == 3
    assert "not an OpenAPI document" in capsys.readouterr().err
    assert main(["--lock", str(tmp_path / "missing.yaml")]) == 3
    assert "missing.yaml" in capsys.readouterr().err


def test_an_operation_without_a_retry_class_is_generated_without_retries(changed, capsys, tmp_path):
    lock = changed(lambda d: first_operation(d).pop("x-retry"))
    assert main(["--lock", lock, "--output", str(tmp_path)]) == 0
    assert "execute_transform has no x-retry: it is generated without retries" in capsys.readouterr().err
    code = (tmp_path / "_api" / "_generated" / "operations.py").read_text()
    execute_transform = code[code.index("EXECUTE_TRANSFORM:") :]
    assert 'retry="none"' in execute_transform[: execute_transform.index("\n)\n")]


def test_the_lock_refreshed_from_itself_is_the_same(tmp_path, capsys):
    """So the overlay and the lock agree, and the next refresh shows the platform's changes alone."""
    lock = Path(shutil.copy(DEFAULT_LOCK, tmp_path))
    assert main(["--spec", str(DEFAULT_LOCK), "--lock", str(lock), "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("nothing changed")
    assert lock.read_text() == DEFAULT_LOCK.read_text()
    for name in MODULES:
        assert (tmp_path / name).read_text() == (DEFAULT_OUTPUT / name).read_text()


def test_a_lock_in_another_form_is_no_change_and_is_said(tmp_path, capsys):
    lock = tmp_path / "openapi.yaml"
    lock.write_text(yaml.safe_dump(DOCUMENT))
    assert main(["--check", "--spec", str(DEFAULT_LOCK), "--lock", str(lock)]) == 0
    said = capsys.readouterr().out
    assert "nothing changed" in said
    assert "openapi.yaml says the same in another form" in said


def test_the_facade_has_every_model():
    classes = {name for name in vars(generated_models) if isinstance(vars(generated_models)[name], type)}
    own = {name for name in classes if vars(generated_models)[name].__module__ == generated_models.__name__}
    assert {*models.__all__} == own | {"TERMINAL_STATUSES"}


def test_the_overlay_names_what_the_methods_send(client, http_server):
    """`x-used` keeps what the client sends, whatever a platform declares."""
    http_server.default = Answer(200, {"execution_id": "e", "status": "pending", "output": None})
    client.submit_code_block_execution("c", {}, ring_id="r")
    client.submit_workflow_execution("w", {}, ring_id="r")
    client.submit_agent_execution("a", {}, ring_id="r")
    client.execute_agent("a", {}, None)
    client.execute_transform("t", {}, None)
    names = ("CodeBlockExecution", "WorkflowExecution", "AgentExecution", "AgentCall", "TransformCall")
    used = [DOCUMENT["components"]["schemas"][f"{name}Request"]["x-used"] for name in names]
    assert [[*each.json] for each in http_server.received] == used


@pytest.mark.parametrize(
    ("field", "name"),
    [
        *(("status", "status"), ("jobId", "job_id"), ("class", "class_"), ("to_dict", "to_dict_")),
        *(("x-y", "x_y"), ("_private", "private"), ("2nd", "field_2nd"), ("model_dump", "model_dump_"), ("$", "field")),
    ],
)
def test_a_field_has_an_attribute_that_python_can_say(field, name):
    assert attribute(field) == name


def bodies():
    """Every JSON body of the specification that has a schema of its own, with its example."""
    for operation in spec.operations(DOCUMENT):
        node = DOCUMENT["paths"][operation.path][operation.method.lower()]
        parts = [node.get("requestBody"), *node["responses"].values()]
        for part in filter(None, parts):
            for kind, media in resolve(DOCUMENT, part).get("content", {}).items():
                yield f"{operation.operation_id} {kind}", media
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if "x-nats-subject" in schema:
            media = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": schema["examples"][0]}
            yield schema["x-nats-subject"], media


@pytest.mark.parametrize(("place", "media"), list(bodies()))
def test_every_body_has_an_example_that_goes_through_its_model_unchanged(place, media):
    assert "example" in media
    if "$ref" in media["schema"]:
        model = getattr(models, media["schema"]["$ref"].rpartition("/")[2])
        example = media["example"]
        assert from_json(model.model_validate(example).model_dump_json(exclude_unset=True)) == example


def test_the_table_has_all_operations():
    assert [each.operation_id for each in operations.OPERATIONS] == [
        *("submit_code_block_execution", "submit_workflow_execution", "submit_agent_execution"),
        *("list_executions", "get_execution_status", "cancel_execution", "get_execution_logs"),
        *("execute_agent", "execute_transform"),
        *("get_service_skills", "get_service_skills_version"),
    ]


@pytest.mark.parametrize("status", ["hibernating", "COMPLETED", "Running"])
def test_unknown_statuses_and_unknown_fields_survive(status):
    record = models.ExecutionRecord.model_validate({"execution_id": "e", "status": status, "colour": {"red": 1}})
    assert (record.status, record.colour) == (status, {"red": 1})
    assert record.is_terminal == (status == "COMPLETED")
    assert record.model_dump(exclude_unset=True) == {"execution_id": "e", "status": status, "colour": {"red": 1}}


def test_a_field_that_is_not_ours_to_send_is_refused():
    with pytest.raises(ValueError, match="extra"):
        models.TransformCallRequest(input_data=1, caller_deployment_id=None, extra=1)
