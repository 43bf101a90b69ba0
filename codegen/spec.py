"""Reads from the lock what the client needs to know about its operations."""

import re
from dataclasses import dataclass

from codegen.document import (
    Schema,
    SpecError,
    component_name,
    json_schema,
    operation_places,
    resolve,
    schemas,
)

RETRY_CLASSES = ("safe", "keyed", "none")


@dataclass(frozen=True)
class OperationSpec:
    """One operation, as the template needs it."""

    operation_id: str
    summary: str
    method: str
    path: str
    path_parameters: dict[str, str]
    success: int
    request: str | None
    answer: str
    retry: str


def operations(document: Schema) -> list[OperationSpec]:
    """Return the operations of `document` in its own order."""
    found = [_operation(document, *place) for place in operation_places(document)]
    names = [each.operation_id for each in found]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"operationId {name} is used more than once")
    return found


def subjects(document: Schema) -> dict[str, str]:
    """Return the NATS subject of each schema that has one."""
    return {name: schema["x-nats-subject"] for name, schema in schemas(document).items() if "x-nats-subject" in schema}


def warnings(document: Schema) -> list[str]:
    """Return what a reader of the generated code may not expect."""
    return [
        f"{each.operation_id} has no x-retry: it is generated without retries; give it a class in codegen/overlay.yaml"
        for each in operations(document)
        if each.retry == "none" and "x-retry" not in document["paths"][each.path][each.method.lower()]
    ]


def _operation(document: Schema, path: str, method: str) -> OperationSpec:
    node = document["paths"][path][method]
    place = f"{method.upper()} {path}"
    name = node.get("operationId", "")
    if not name.isidentifier():
        raise SpecError(f"{place}: operationId {name!r} cannot name a method")
    # Without a class nothing says that a repetition is harmless, and that is never guessed.
    retry = node.get("x-retry", "none")
    if retry not in RETRY_CLASSES:
        raise SpecError(f"{place}: x-retry is {retry!r}, it must be one of {RETRY_CLASSES}")
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
        retry=retry,
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
    responses = {str(code): response for code, response in node.get("responses", {}).items()}
    codes = [code for code in responses if code.startswith("2")]
    if len(codes) != 1:
        raise SpecError(f"{place}: it must have exactly one 2xx response, it has {codes}")
    return int(codes[0]), _answer_type(json_schema(document, responses[codes[0]]) or {}, place)


def _request(document: Schema, node: Schema, place: str) -> str | None:
    if "requestBody" not in node:
        return None
    schema = json_schema(document, node["requestBody"]) or {}
    if "$ref" not in schema:
        raise SpecError(f"{place}: the request body must be a $ref to a component schema")
    return component_name(schema)


def _answer_type(schema: Schema, place: str) -> str:
    if "$ref" in schema:
        return f"models.{component_name(schema)}"
    if schema.get("type") == "object" and "properties" not in schema:
        return "dict"
    if not schema.keys() - {"title", "description"}:
        return "object"
    raise SpecError(f"{place}: an answer must be a $ref, a free-form object or any JSON")
