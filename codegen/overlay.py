"""Applies an OpenAPI Overlay 1.1, which adds what a live document cannot say about itself.

It is strict: each action must match something and change it. It knows `update`, `remove` and `copy`, with JSONPath
(RFC 9535) as targets.
"""

import difflib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonpath_rfc9535
import yaml

from codegen.document import Schema, SpecError
from codegen.reading import parse

KINDS = ("update", "remove", "copy")
_KEYS = frozenset({"target", "description", *KINDS})


@dataclass(frozen=True)
class Action:
    """One action of an overlay and where it stands."""

    place: str
    target: str
    kind: str
    value: Any


@dataclass(frozen=True)
class Overlay:
    """The actions of an overlay, in order."""

    actions: tuple[Action, ...]

    def schema_names(self) -> set[str]:
        """Return the names of the component schemas that the overlay adds."""
        values = [each.value for each in self.actions if each.kind == "update" and each.target == "$.components"]
        return {name for value in values for name in value.get("schemas", {})}

    def apply(self, document: Schema) -> Schema:
        """Return `document` with all actions applied.

        Raises:
            SpecError: an action matches nothing, or changes nothing because the document says the same already.
        """
        changed = deepcopy(document)
        said = json.dumps(changed)
        for each in self.actions:
            _apply(each, changed)
            before, said = said, json.dumps(changed)
            if said == before:
                raise SpecError(f"{each.place}: {each.target}: the document already says this; remove the action")
        return changed


def read(path: Path) -> Overlay:
    """Return the overlay in a file.

    Raises:
        SpecError: it is not an overlay, or an action in it is not valid.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error}") from error
    document = parse(str(path), content)
    if not isinstance(document, dict) or not str(document.get("overlay", "")).startswith("1."):
        raise SpecError(f"{path} is not an OpenAPI Overlay 1.x: it does not begin with `overlay: 1.1.0`")
    places = _places(path, content.decode("utf-8"))
    actions = document.get("actions") or []
    return Overlay(tuple(_action(node, place) for node, place in zip(actions, places, strict=True)))


def _places(path: Path, text: str) -> Iterator[str]:
    """Yield where each action begins, as `file:line`."""
    root = yaml.compose(text, yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for key, value in pairs:
        if key.value == "actions" and isinstance(value, yaml.SequenceNode):
            yield from (f"{path.name}:{each.start_mark.line + 1}" for each in value.value)


def _action(node: Any, place: str) -> Action:
    if not isinstance(node, dict) or not isinstance(node.get("target"), str):
        raise SpecError(f"{place}: an action needs a `target`, a JSONPath")
    kinds = [each for each in KINDS if node.get(each) not in (None, False)]
    unknown = sorted(str(each) for each in node if each not in _KEYS and not str(each).startswith("x-"))
    if unknown or len(kinds) != 1:
        says = f"this one has {', '.join(unknown or kinds) or 'none of them'}"
        raise SpecError(f"{place}: an action has a target and exactly one of {', '.join(KINDS)}; {says}")
    return Action(place, node["target"], kinds[0], node[kinds[0]])


def _apply(action: Action, document: Schema) -> None:
    nodes = _find(action, action.target, document)
    if action.kind == "remove":
        # From the end: the places of earlier items of an array stay true.
        for node in reversed(nodes):
            parent, key = _parent(document, node.location)
            del parent[key]
        return
    for node in nodes:
        value = action.value if action.kind == "update" else _copied(action, document)
        _put(document, node.location, _merged(node.value, deepcopy(value)))


def _copied(action: Action, document: Schema) -> Any:
    nodes = _find(action, str(action.value), document)
    if len(nodes) != 1:
        raise SpecError(f"{action.place}: copy takes one node; {action.value} matches {len(nodes)}")
    return nodes[0].value


def _find(action: Action, path: str, document: Schema) -> list[jsonpath_rfc9535.JSONPathNode]:
    try:
        nodes = list(jsonpath_rfc9535.find(path, document))
    except jsonpath_rfc9535.JSONPathError as error:
        raise SpecError(f"{action.place}: {path} is not a JSONPath: {error}") from error
    if not nodes:
        raise SpecError(f"{action.place}: {path} matches nothing{_nearest(path, document)}")
    return nodes


def _merged(present: Any, value: Any) -> Any:
    """Return `present` updated with `value`: objects are merged, arrays appended to, everything else replaced."""
    if isinstance(present, dict) and isinstance(value, dict):
        return {**present, **{key: _merged(present.get(key), each) for key, each in value.items()}}
    if isinstance(present, list):
        return [*present, *value] if isinstance(value, list) else [*present, value]
    return value


def _parent(document: Schema, location: tuple[int | str, ...]) -> tuple[Any, int | str]:
    parent: Any = document
    for step in location[:-1]:
        parent = parent[step]
    return parent, location[-1]


def _put(document: Schema, location: tuple[int | str, ...], value: Any) -> None:
    if location:
        parent, key = _parent(document, location)
        parent[key] = value
    else:
        document.update(value)


def _nearest(path: str, document: Schema) -> str:
    close = difflib.get_close_matches(path, list(_paths(document, "$")), n=1, cutoff=0.5)
    return f"; did you mean {close[0]} ?" if close else ""


def _paths(node: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, f"{path}.{key}" if key.isidentifier() else f"{path}['{key}']")
