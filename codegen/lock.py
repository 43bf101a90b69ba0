"""Writes `openapi.yaml` in one order and one form, so that equal documents give equal bytes."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import yaml

from codegen.document import Schema, schemas

WIDTH = 120
_HEAD = ("openapi", "info", "x-source", "servers", "security", "paths", "components")
_COMPONENTS = ("securitySchemes", "parameters", "headers", "responses", "schemas")
_OPERATION = (
    *("operationId", "summary", "description", "x-retry", "x-optional", "x-undeclared"),
    *("parameters", "requestBody", "responses"),
)


def arrange(document: Schema, lock: Schema, source: Schema) -> Schema:
    """Return `document` in the lock's order, with a hash of what the live document says about our operations.

    Args:
        document: the new lock, with the overlay applied.
        lock: the previous lock, whose order of operations and schemas is kept.
        source: the live document in the lock's form, before the overlay.
    """
    found = _by_rank({**document, "x-source": {"sha256": fingerprint(source)}}, _HEAD)
    found["paths"] = {
        path: {method: _by_rank(node, _OPERATION) for method, node in item.items()}
        for path, item in document["paths"].items()
    }
    components = dict(document["components"])
    components["schemas"] = _by_rank(components["schemas"], [*schemas(lock), *sorted(components["schemas"])])
    found["components"] = _by_rank(components, _COMPONENTS)
    return found


def text(document: Schema) -> str:
    """Return the document as YAML."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def fingerprint(source: Schema) -> str:
    """Return a hash of what a document means; order and wording do not count."""
    said = json.dumps(_without_words(source["paths"]), sort_keys=True)
    models = json.dumps(_without_words(schemas(source)), sort_keys=True)
    return hashlib.sha256(f"{said}\n{models}".encode()).hexdigest()


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - pyyaml's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - pyyaml's signature
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    is_short = all(not isinstance(each, (dict, list)) for each in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_short)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def _by_rank(node: Schema, names: Iterable[str]) -> Schema:
    return {name: node[name] for name in dict.fromkeys([*names, *node]) if name in node}


def _without_words(node: Any) -> Any:
    if isinstance(node, dict):
        words = ("summary", "description", "example", "examples", "headers")
        return {key: _without_words(value) for key, value in node.items() if not _is_words(key, value, words)}
    return [_without_words(each) for each in node] if isinstance(node, list) else node


def _is_words(key: str, value: Any, words: tuple[str, ...]) -> bool:
    """Return whether an entry is prose. A property of that name is not: it has a schema."""
    return key in words and not (isinstance(value, dict) and {"type", "$ref", "anyOf"} & value.keys())
