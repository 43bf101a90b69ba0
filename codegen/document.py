"""OpenAPI documents as plain dictionaries, and the references within them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class SpecError(Exception):
    """The document cannot be turned into code; the message says where and why."""


@dataclass(frozen=True)
class Cursor:
    """A node together with the document that its references lead into."""

    document: Schema
    node: Any

    def at(self, node: Any) -> "Cursor":
        """Return a cursor on another node of the same document."""
        return Cursor(self.document, node)

    def resolved(self) -> Schema:
        """Return what the node stands for, an object; raise `SpecError` for anything else."""
        return resolve(self.document, self.node)


def resolve(document: Schema, node: Any) -> Schema:
    """Return what `node` stands for, following its `$ref` within the document.

    Raises:
        SpecError: a reference leads nowhere, in a circle or out of the document, or `node` is not an object.
    """
    seen: list[str] = []
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        pointer = node["$ref"]
        if pointer in seen:
            raise SpecError(f"$ref {pointer} is circular: {' -> '.join([*seen, pointer])}")
        seen.append(pointer)
        node = at_pointer(document, pointer)
    if not isinstance(node, dict):
        raise SpecError(f"expected an object{f' at $ref {seen[-1]}' if seen else ''}, found {node!r:.80}")
    return node


def at_pointer(document: Schema, pointer: str) -> Any:
    """Return the node that a `$ref` points to; raise `SpecError` when there is none."""
    if not pointer.startswith("#/"):
        raise SpecError(f"$ref {pointer} leads out of the document; bundle the specification into one document first")
    node: Any = document
    for step in pointer[2:].split("/"):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or name not in node:
            raise SpecError(f"$ref {pointer} leads nowhere")
        node = node[name]
    return node


def operation_places(document: Schema) -> Iterator[tuple[str, str]]:
    """Yield path and method of each operation, in the document's order."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in resolve(document, item):
                yield path, method


def schemas(document: Schema) -> dict[str, Schema]:
    """Return the component schemas by name."""
    found: dict[str, Schema] = document.get("components", {}).get("schemas", {})
    return found


def json_schema(document: Schema, body: Any) -> Any:
    """Return the schema of a request's or response's JSON; None if it declares no JSON content."""
    content = resolve(document, body).get("content") or {}
    kinds = sorted(content, key=lambda kind: kind != "application/json")
    media = next((content[kind] for kind in kinds if _is_json(kind)), None)
    return None if media is None else (media or {}).get("schema", {})


def component_name(schema: Schema) -> str:
    """Return the last part of a `$ref`."""
    return str(schema["$ref"]).rpartition("/")[2]


def _is_json(kind: str) -> bool:
    return kind.partition(";")[0].strip().endswith(("/json", "+json", "*/*")) and "problem" not in kind
