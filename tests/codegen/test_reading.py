"""What cannot be used is refused in a line that says why, and nothing is written."""

import gzip
import json
import socket

import pytest
from support.http import Answer
from support.live_platforms import typed
from support.specifications import STATUS, field, live, operation, schema

from codegen import reading


@pytest.fixture
def refused(package, http_server, capsys):
    """Refreshes from what the server answers, which fails; gives the message."""

    def run(body, status=200, headers=None, arguments=()):
        http_server.default = Answer(status, body, headers or {})
        before = package.lock.read_bytes()
        assert package.codegen("--spec", f"{http_server.url}/openapi.json", *arguments) == 3
        assert package.lock.read_bytes() == before
        assert not package.code.exists()
        message = capsys.readouterr().err
        assert message.startswith("codegen: ")
        assert "Traceback" not in message
        return message

    return run


def test_a_web_page(refused):
    assert "is a web page, not a specification" in refused(b"<!DOCTYPE html><html>Log in</html>")


def test_what_is_neither_json_nor_yaml(refused):
    assert "is neither JSON nor YAML" in refused(b"{a: [}")


def test_other_json(refused):
    assert "is not an OpenAPI document: it has no paths" in refused({"a": 1})
    assert "is not an OpenAPI document" in refused([1])


def test_swagger(refused):
    assert "is Swagger 2.0; convert it to OpenAPI 3 first" in refused({"swagger": "2.0", "paths": {}})


def test_a_platform_that_wants_a_token(refused, package, http_server):
    assert "answered 401: pass --header 'Authorization: Bearer ...'" in refused({}, 401)
    assert "answered 404" in refused({}, 404)
    http_server.default = Answer(200, live())
    assert package.codegen("--check", "--spec", http_server.url, "--header", "Authorization: Bearer t-7") == 2
    assert http_server.received[-1].headers["Authorization"] == "Bearer t-7"


def test_a_header_without_a_colon(package, capsys):
    with pytest.raises(SystemExit):
        package.codegen("--spec", "http://x", "--header", "Bearer")
    assert "write 'Name: value'" in capsys.readouterr().err


def test_a_platform_that_is_not_there(package, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        assert package.codegen("--spec", f"http://127.0.0.1:{taken.getsockname()[1]}/openapi.json") == 3
    assert "cannot be fetched" in capsys.readouterr().err
    assert package.codegen("--spec", "nothing.json") == 3
    assert "nothing.json cannot be read" in capsys.readouterr().err


def test_a_document_without_end(refused, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1024**2)
    large = gzip.compress(b" " * 2 * 1024**2)
    assert "is larger than 1 MiB" in refused(large, headers={"Content-Encoding": "gzip"})


def test_a_document_that_is_nested_without_end(refused):
    assert "nested too deeply" in refused(b'{"paths": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert "nested too deeply" in refused(b"paths: &a\n  x: *a\n")


def test_none_of_our_operations(refused):
    paths = {"/users": {"get": {"responses": {}}}, "/users/{id}": {"delete": {"responses": {}}}}
    message = refused({"openapi": "3.1.0", "paths": paths})
    assert "has none of the client's operations" in message
    assert "GET /api/v1/orgs/{org_id}/workspaces/{workspace_id}/executions/{execution_id}" in message
    assert "  GET /users\n  DELETE /users/{id}" in message


def test_two_roots(refused):
    document = live()
    document["paths"] = {
        path.replace("/api/v1", root): item for root in ("/v7", "/v8") for path, item in document["paths"].items()
    }
    assert "under several roots: /v7, /v8" in refused(document)


REFERENCES = {
    "a circle": ({"$ref": "#/components/schemas/Loop"}, "$ref #/components/schemas/Loop is circular"),
    "another document": ({"$ref": "other.yaml#/Run"}, "$ref other.yaml#/Run leads out of the document"),
    "nowhere": ({"$ref": "#/components/schemas/Gone"}, "$ref #/components/schemas/Gone leads nowhere"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_that_cannot_be_followed(refused, name):
    node, message = REFERENCES[name]
    document = live()
    schema(document, "Run")["properties"]["usage"] = node
    document["components"]["schemas"]["Loop"] = {"allOf": [{"$ref": "#/components/schemas/Pool"}]}
    document["components"]["schemas"]["Pool"] = {"$ref": "#/components/schemas/Loop"}
    found = refused(document)
    assert message in found
    assert f"GET {STATUS}" in found


def test_an_answer_that_is_no_object(refused):
    document = live()
    answer = operation(document, STATUS, "get")["responses"]["200"]["content"]["application/json"]
    answer["schema"] = {"type": "array", "items": answer["schema"]}
    assert "the answer is array; the client reads an object" in refused(document)


def test_dates_and_words_of_yaml_stay_text(package):
    path = package.folder / "live.yaml"
    document = live()
    field(document, "WorkflowRunCreate", "lifecycle_event").update(enum=["on", "no"], default="no")
    text = json.dumps(document).replace('"on", "no"', "on, 2026-01-05")
    path.write_text(text.replace('"default": "no"', '"default": 2026-01-05'))
    assert package.codegen("--spec", str(path)) == 0
    assert (
        'Literal["2026-01-05", "on"] = "2026-01-05"' in (package.code / "_api" / "_generated" / "models.py").read_text()
    )


def test_a_slow_platform_has_a_time_limit(monkeypatch, http_server):
    monkeypatch.setattr(reading, "FETCH_TIMEOUT", 0.0)
    http_server.default = Answer(200, typed()[0].openapi())
    with pytest.raises(reading.SpecError, match="did not arrive within 0 s"):
        reading.read(http_server.url)


@pytest.mark.parametrize("junk", [None, [], 1, "x", {"a": 1}, [None]])
def test_a_document_that_is_not_what_it_should_be(refused, junk):
    document = live()
    operation(document, STATUS, "get")["parameters"] = [junk]
    assert "codegen: " in refused(document)
    document = live()
    schema(document, "Run")["properties"] = [junk]
    assert "the specification is not valid OpenAPI: $." in refused(document)
