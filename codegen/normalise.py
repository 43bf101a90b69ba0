"""Converts a live document to the lock's form: our operations, our names, the platform's declarations."""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from http import HTTPStatus

from codegen.document import Cursor, Schema, SpecError, json_schema, resolve
from codegen.matching import HOLE, Found, Place, match
from codegen.models import Direction, Models, camel
from codegen.shapes import Shape, shape

# The client sends these by itself; the overlay documents them. OpenAPI itself ignores the first three.
SENT_HEADERS = frozenset(
    {
        *("accept", "content-type", "authorization", "accept-encoding", "user-agent"),
        *("idempotency-key", "prefer", "x-parent-billing-txn-id", "x-lifecycle-event"),
    }
)
# FastAPI declares it for every operation, so it says nothing about any one of them.
IMPLIED_ERRORS = frozenset({"422"})


@dataclass
class Normal:
    """A live document in the lock's form, before the overlay, and what was noted on the way."""

    document: Schema
    notes: list[str] = field(default_factory=list)
    others: tuple[Place, ...] = ()


def normalise(live: Schema, lock: Schema, reserved: Iterable[str]) -> Normal:
    """Return `live` in the form of `lock`.

    Args:
        live: any OpenAPI 3 document.
        lock: the client's own document, which names operations and schemas.
        reserved: names of schemas that the overlay adds.

    Raises:
        SpecError: our operations are missing, or declare what the client cannot work with.
    """
    matches = match(live, lock)
    builder = _Builder(live, lock, Models(lock, reserved))
    paths: Schema = {}
    for found in matches.found:
        paths.setdefault(found.path, {})[found.ours.method] = builder.operation(found)
    head: Schema = {name: deepcopy(lock[name]) for name in ("openapi", "info", "servers", "security") if name in lock}
    kept: Schema = {
        name: deepcopy(lock["components"][name]) for name in ("securitySchemes", "headers") if name in _parts(lock)
    }
    document = {**head, "paths": paths, "components": {**kept, "schemas": builder.models.components}}
    return Normal(document, [*builder.notes, *builder.models.notes], matches.others)


def _parts(lock: Schema) -> Schema:
    parts: Schema = lock.get("components", {})
    return parts


class _Builder:
    def __init__(self, live: Schema, lock: Schema, models: Models) -> None:
        self._live = live
        self._lock = lock
        self.models = models
        self.notes: list[str] = []

    def operation(self, found: Found) -> Schema:
        """Return one of our operations as the live document declares it; the lock's own if it does not."""
        if found.live is None:
            self.notes.append(f"the platform has no {found.ours}; the client keeps it as it was")
            return {**self._build(self._lock, found, found.ours), "x-undeclared": True}
        try:
            return self._build(self._live, found, found.live)
        except SpecError as error:
            if not _operation(self._lock, found.ours).get("x-optional"):
                raise SpecError(f"{found.live}: {error}") from error
            self.notes.append(f"{found.live} is not the client's operation ({error}); the client keeps its own")
            return {**self._build(self._lock, found, found.ours), "x-undeclared": True}

    def _build(self, source: Schema, found: Found, place: Place) -> Schema:
        mine = _operation(self._lock, found.ours)
        node = _operation(source, place)
        name = mine.get("operationId", "")
        built: Schema = {
            **{key: mine[key] for key in ("operationId", "summary", "description") if key in mine},
            "parameters": self._parameters(source, found, place),
        }
        body = self._request(source, node, mine, name)
        if body is not None:
            built["requestBody"] = body
        return {**built, "responses": self._responses(source, node, mine, name)}

    def _parameters(self, source: Schema, found: Found, place: Place) -> list[Schema]:
        """Return our path parameters, as text, and the query parameters and headers that the platform reads."""
        path = [
            {"name": hole.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}
            for hole in HOLE.findall(found.path)
        ]
        item = resolve(source, source["paths"][place.path])
        declared: dict[tuple[str, str], Schema] = {}
        for each in [*item.get("parameters", ()), *item[place.method].get("parameters", ())]:
            node = resolve(source, each)
            declared[node["in"], str(node["name"]).lower()] = node
        others = sorted(key for key in declared if key[0] in ("query", "header") and key[1] not in SENT_HEADERS)
        return [*path, *(self._other(source, declared[key]) for key in others)]

    def _other(self, source: Schema, node: Schema) -> Schema:
        found = {"name": node["name"], "in": node["in"]}
        if node.get("required"):
            found["required"] = True
        cursor = Cursor(source, node.get("schema", {}))
        return {**found, "schema": self.models.schema(cursor, None, "request", camel(str(node["name"])))}

    def _request(self, source: Schema, node: Schema, mine: Schema, name: str) -> Schema | None:
        ours = json_schema(self._lock, mine["requestBody"]) if "requestBody" in mine else None
        live = json_schema(source, node["requestBody"]) if "requestBody" in node else None
        hint = camel(name) + "Request"
        if live is not None:
            said = shape(Cursor(source, live))
            if said.models:
                return self._body(mine.get("requestBody"), self._role(source, live, ours, "request", hint))
            if not said.is_any and any(each.kind != "object" for each in said.branches):
                kinds = ", ".join(sorted({each.kind for each in said.branches}))
                raise SpecError(f"the request body is {kinds}; the client sends an object")
        if ours is None:
            return None
        self.notes.append(f"{name}: the platform does not declare its request body; the client keeps its own")
        return self._body(mine["requestBody"], self._role(self._lock, ours, ours, "request", hint))

    def _body(self, mine: Schema | None, schema: Schema) -> Schema:
        return {"required": True, "content": {"application/json": {"schema": schema, **self._examples(mine)}}}

    def _responses(self, source: Schema, node: Schema, mine: Schema, name: str) -> Schema:
        responses = node.get("responses") or {}
        our_code, our_response = _success(self._lock, mine, None)
        code, response = _success(source, node, our_code)
        words = resolve(self._lock, our_response)
        success = {"description": words.get("description", "Success.")}
        if "headers" in words:
            success["headers"] = deepcopy(words["headers"])
        media = {"schema": self._answer(source, response, our_response, name), **self._examples(words)}
        success["content"] = {"application/json": media}
        errors = sorted(each for each in responses if re.fullmatch(r"[45]\d\d", each) and each not in IMPLIED_ERRORS)
        return {code: success, **{each: {"description": _phrase(each)} for each in errors}}

    def _answer(self, source: Schema, response: Schema, our_response: Schema, name: str) -> Schema:
        ours = json_schema(self._lock, our_response)
        live = json_schema(source, response)
        known, said = shape(Cursor(self._lock, ours or {})), shape(Cursor(source, live or {}))
        if not known.models:
            if said.models and source is not self._lock:
                self.notes.append(f"{name}: the platform declares its answer; the client returns it unchanged")
            return _free(known)
        if live is None:
            self.notes.append(f"{name}: the platform declares no JSON answer")
        if said.models:
            return self._role(source, live, ours, "answer", camel(name) + "Answer")
        if not said.is_any and any(each.kind != "object" for each in said.branches):
            kinds = ", ".join(sorted({each.kind for each in said.branches}))
            raise SpecError(f"the answer is {kinds}; the client reads an object")
        self.notes.append(f"{name}: the platform does not declare its answer; the client keeps its own model")
        return self._role(self._lock, ours, ours, "answer", camel(name) + "Answer")

    def _role(self, source: Schema, live: object, ours: object, direction: Direction, hint: str) -> Schema:
        """Return a reference to the model of a body, merged from all models that the body may be."""
        known = next(iter(shape(Cursor(self._lock, ours)).models), None) if ours is not None else None
        found: Schema = {}
        for each in shape(Cursor(source, live)).models:
            found = self.models.model(each, known, direction, hint)
        return found

    def _examples(self, body: Schema | None) -> Schema:
        content = resolve(self._lock, body).get("content", {}) if body else {}
        media = content.get("application/json") or {}
        return {key: deepcopy(media[key]) for key in ("example", "examples") if key in media}


def _operation(document: Schema, place: Place) -> Schema:
    node: Schema = resolve(document, document["paths"][place.path])[place.method]
    return node


def _success(document: Schema, node: Schema, preferred: str | None) -> tuple[str, Schema]:
    """Return the code and the response of success: the `preferred` code if it is declared, else the first."""
    responses = node.get("responses") or {}
    codes = sorted(each for each in responses if re.fullmatch(r"2(\d\d|XX)", each))
    if not codes:
        return preferred or "200", {}
    chosen = preferred if preferred and preferred in codes else codes[0]
    code = (preferred or "200") if chosen.endswith("XX") else chosen
    return code, resolve(document, responses[chosen])


def _free(known: Shape) -> Schema:
    return {} if known.is_any else {"type": "object", "additionalProperties": True}


def _phrase(code: str) -> str:
    try:
        return f"{HTTPStatus(int(code)).phrase}."
    except ValueError:
        return f"Status {code}."
