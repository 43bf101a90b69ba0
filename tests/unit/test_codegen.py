"""The generator: deterministic, watchful, and strict about what the client needs to know."""

import copy
import shutil

import pytest
import yaml
from openapi_spec_validator import validate
from pydantic_core import from_json

from codegen import spec
from codegen.__main__ import DEFAULT_OUTPUT, DEFAULT_SPEC, main
from flow_client import models
from flow_client._generated import operations

DOCUMENT = spec.read(str(DEFAULT_SPEC))


@pytest.fixture
def generated(tmp_path):
    """A copy of the generated modules."""
    return shutil.copytree(DEFAULT_OUTPUT, tmp_path / "generated")


@pytest.fixture
def changed(tmp_path):
    """Writes a changed copy of the specification."""

    def write(change):
        document = copy.deepcopy(DOCUMENT)
        change(document)
        path = tmp_path / "openapi.yaml"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write


def first_operation(document):
    return document["paths"]["/api/v1/component-execution/transforms/{transform_id}/execute"]["post"]


def test_the_specification_is_valid():
    validate(DOCUMENT)


def test_what_stands_there_is_what_is_generated(capsys):
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_two_runs_write_the_same_bytes(tmp_path):
    texts = []
    for name in ("one", "two"):
        assert main(["--output", str(tmp_path / name)]) == 0
        texts.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    assert set(texts[0]) == {"models.py", "operations.py"}


@pytest.mark.parametrize("name", ["models.py", "operations.py"])
def test_drift_is_found_and_shown(generated, capsys, name):
    path = generated / name
    path.write_text(path.read_text() + "# a hand edit\n")
    assert main(["--check", "--output", str(generated)]) == 1
    assert "-# a hand edit" in capsys.readouterr().out
    assert path.read_text().endswith("# a hand edit\n")


def test_a_new_field_is_drift(changed, capsys):
    def add(document):
        document["components"]["schemas"]["ExecutionAccepted"]["properties"]["queue"] = {"type": "integer"}

    assert main(["--check", "--spec", changed(add)]) == 1
    assert "+    queue: int | None = None" in capsys.readouterr().out


REFUSED = {
    "no retry class": (lambda d: first_operation(d).pop("x-retry"), "x-retry"),
    "an unknown retry class": (lambda d: first_operation(d).update({"x-retry": "always"}), "x-retry"),
    "no operation id": (lambda d: first_operation(d).pop("operationId"), "operationId"),
    "an operation id twice": (lambda d: first_operation(d).update(operationId="execute_agent"), "more than once"),
    "a path parameter that is not in the path": (
        lambda d: first_operation(d).update(parameters=[{"$ref": "#/components/parameters/OrgId"}]),
        "path parameters",
    ),
    "a hole in the path without a parameter": (
        lambda d: d["paths"].update({"/x/{hole}": {"get": dict(first_operation(d), operationId="x")}}),
        "path parameters",
    ),
    "a path parameter without a pattern": (
        lambda d: d["components"]["schemas"]["Id"].pop("pattern"),
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
    assert main(["--spec", changed(change), "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_file_that_is_no_specification_is_refused(tmp_path, capsys):
    path = tmp_path / "other.yaml"
    path.write_text("a: 1")
    assert main(["--spec", str(path)]) == 2
    assert "not an OpenAPI document" in capsys.readouterr().err
    assert main(["--spec", str(tmp_path / "missing.yaml")]) == 2
    assert "missing.yaml" in capsys.readouterr().err


def test_a_live_platforms_specification_is_taken_from_its_url(http_server, tmp_path):
    http_server.handle = lambda request: _Json(DOCUMENT)
    assert main(["--spec", f"{http_server.url}/openapi.yaml", "--output", str(tmp_path)]) == 0
    for name in ("models.py", "operations.py"):
        assert (tmp_path / name).read_text() == (DEFAULT_OUTPUT / name).read_text()


class _Json:
    status = 200
    headers = {}  # noqa: RUF012 - it is not changed

    def __init__(self, document):
        self.content = yaml.safe_dump(document, sort_keys=False).encode()


def bodies():
    """Every JSON body of the specification that has a schema of its own, with its example."""
    for operation in spec.operations(DOCUMENT):
        node = DOCUMENT["paths"][operation.path][operation.method.lower()]
        parts = [node.get("requestBody"), *node["responses"].values()]
        for part in filter(None, parts):
            for kind, media in spec.resolve(DOCUMENT, part).get("content", {}).items():
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


def test_the_table_has_the_nine_operations():
    assert [each.operation_id for each in operations.OPERATIONS] == [
        *("submit_code_block_execution", "submit_workflow_execution", "submit_agent_execution"),
        *("get_execution_status", "cancel_execution", "execute_agent", "execute_transform"),
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
