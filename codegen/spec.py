"""Reads an OpenAPI document and picks out what the client needs to know about its operations."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import yaml

RETRY_CLASSES = ("safe", "keyed")
METHODS = ("get", "put", "post", "delete", "patch")
FETCH_TIMEOUT = 30.0

Schema = dict[str, Any]


class SpecError(Exception):
    """The document cannot be turned into code; the message says where and why."""


@dataclass(frozen=True)
class OperationSpec:
    """One operation, as the template wants it."""

    operation_id: str
    summary: str
    method: str
    path: str
    path_parameters: dict[str, str]
    success: int
    request: str | None
    answer: str
    retry: str


def read(source: str) -> Schema:
    """Return the document at `source`, a file or an http(s) URL, in YAML or JSON."""
    if urlsplit(source).scheme in ("http", "https"):
        with urlopen(source, timeout=FETCH_TIMEOUT) as answer:  # noqa: S310 - the scheme was checked
            text = answer.read()
    else:
        text = Path(source).read_bytes()
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or "paths" not in document:
        raise SpecError(f"{source} is not an OpenAPI document: it has no paths")
    return document


def operations(document: Schema) -> list[OperationSpec]:
    """Return the operations of `document` in its own order."""
    found = [_operation(document, *place) for place in _places(document)]
    names = [each.operation_id for each in found]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"operationId {name} stands more than once")
    return found


def subjects(document: Schema) -> dict[str, str]:
    """Return the NATS subject of each schema that has one."""
    schemas = document.get("components", {}).get("schemas", {})
    return {name: schema["x-nats-subject"] for name, schema in schemas.items() if "x-nats-subject" in schema}


def resolve(document: Schema, node: Schema) -> Schema:
    """Return what `node` stands for, following a `$ref` within the document."""
    while "$ref" in node:
        pointer = node["$ref"]
        node = document
        for step in pointer.removeprefix("#/").split("/"):
            if step not in node:
                raise SpecError(f"$ref {pointer} leads nowhere")
            node = node[step]
    return node


def _places(document: Schema) -> Iterator[tuple[str, str]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method


def _operation(document: Schema, path: str, method: str) -> OperationSpec:
    node = document["paths"][path][method]
    place = f"{method.upper()} {path}"
    name = node.get("operationId", "")
    if not name.isidentifier():
        raise SpecError(f"{place}: operationId {name!r} cannot name a method")
    if node.get("x-retry") not in RETRY_CLASSES:
        raise SpecError(f"{place}: x-retry is {node.get('x-retry')!r}, it must be one of {RETRY_CLASSES}")
    success, answer = _success(document, node, place)
    return OperationSpec(
        operation_id=name,
        summary=node.get("summary", name),
        method=method.upper(),
        path=path,
        path_parameters=_path_parameters(document, path, method),
        success=success,
        request=_request(document, node, place),
        answer=answer,
        retry=node["x-retry"],
    )


def _path_parameters(document: Schema, path: str, method: str) -> dict[str, str]:
    item = document["paths"][path]
    declared = [resolve(document, p) for p in [*item.get("parameters", []), *item[method].get("parameters", [])]]
    patterns = {p["name"]: resolve(document, p["schema"]).get("pattern") for p in declared if p["in"] == "path"}
    holes = re.findall(r"\{(\w+)\}", path)
    if sorted(holes) != sorted(patterns):
        raise SpecError(f"{method.upper()} {path}: the path has {holes}, its path parameters are {list(patterns)}")
    found = {name: pattern for name in holes if (pattern := patterns[name])}
    if len(found) < len(holes):
        raise SpecError(
            f"{method.upper()} {path}: these path parameters have no pattern: {sorted({*holes} - {*found})}"
        )
    return found


def _success(document: Schema, node: Schema, place: str) -> tuple[int, str]:
    codes = [str(code) for code in node.get("responses", {}) if str(code).startswith("2")]
    if len(codes) != 1:
        raise SpecError(f"{place}: it must have exactly one 2xx response, it has {codes}")
    response = next(each for code, each in node["responses"].items() if str(code) == codes[0])
    return int(codes[0]), _answer_type(_json_schema(resolve(document, response)), place)


def _request(document: Schema, node: Schema, place: str) -> str | None:
    if "requestBody" not in node:
        return None
    schema = _json_schema(resolve(document, node["requestBody"]))
    if "$ref" not in schema:
        raise SpecError(f"{place}: the request body must be a $ref to a component schema")
    return _component_name(schema)


def _answer_type(schema: Schema, place: str) -> str:
    if "$ref" in schema:
        return f"models.{_component_name(schema)}"
    if schema.get("type") == "object" and "properties" not in schema:
        return "dict"
    if not schema.keys() - {"title", "description"}:
        return "object"
    raise SpecError(f"{place}: an answer must be a $ref, a free-form object or any JSON")


def _json_schema(body: Schema) -> Schema:
    schema: Schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _component_name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
