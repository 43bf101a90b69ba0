"""The meaning of a schema, however it is written: 3.0 or 3.1, inline or by reference, `nullable` or with a null."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from codegen.document import Cursor, Schema, SpecError, at_pointer

Json = Any

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
# The formats that a client checks. Others (uuid, email, uri) describe text, which stays text.
FORMATS = ("date-time", "date")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
KEYWORDS: dict[str, tuple[str, ...]] = {
    "string": ("minLength", "maxLength", "pattern", "format", "enum"),
    "integer": (*_BOUNDS, "enum"),
    "number": (*_BOUNDS, "enum"),
    "boolean": ("enum",),
    "array": ("minItems", "maxItems"),
}
# What pydantic calls a bound that it cannot place, as in `Annotated[int | float, Field(gt=0)]`.
_PYDANTIC_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
_KINDS_OF_VALUES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True)
class Branch:
    """One type that a value may have. `kind` is a JSON type, or `any`; an object with properties is a model.

    `kept` are the properties that a lock has although the platform does not declare them.
    """

    kind: str
    keywords: dict[str, Json] = field(default_factory=dict)
    items: Cursor | None = None
    properties: dict[str, Cursor] = field(default_factory=dict)
    kept: dict[str, Cursor] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    extra: Cursor | None = None
    origin: str | None = None
    description: str | None = None

    @property
    def is_model(self) -> bool:
        """Whether it is an object with named properties."""
        return self.kind == "object" and bool(self.properties)

    @property
    def enum(self) -> tuple[Json, ...]:
        """The values that are listed, if any are."""
        return tuple(self.keywords.get("enum", ()))

    @property
    def is_plain(self) -> bool:
        """Whether it is a type without any condition."""
        return not self.keywords and self.kind not in ("array", "object", "any")


@dataclass(frozen=True)
class Shape:
    """All types that a value may have."""

    branches: tuple[Branch, ...]
    nullable: bool
    description: str | None = None
    default: Json = None

    @property
    def is_any(self) -> bool:
        """Whether any JSON value will do."""
        return not self.branches or any(each.kind == "any" for each in self.branches)

    @property
    def models(self) -> tuple[Branch, ...]:
        """The branches with named properties."""
        return tuple(each for each in self.branches if each.is_model)

    @property
    def vocabulary(self) -> tuple[Json, ...] | None:
        """The known values of an open vocabulary: any text is valid, these are expected."""
        texts = [each for each in self.branches if each.kind == "string"]
        if len(texts) == len(self.branches) and any(each.is_plain for each in texts):
            return next((each.enum for each in texts if each.enum), None)
        return None


def shape(cursor: Cursor) -> Shape:
    """Return what the schema at `cursor` says.

    Raises:
        SpecError: one of its references cannot be followed.
    """
    found = _without_repetitions(_branches(cursor, None, ()))
    branches = tuple(each for each in found if each.kind != "null")
    if any(each.kind == "any" for each in branches):
        branches = ()
    described = _stated(cursor, "description") or next((each.description for each in found if each.description), None)
    return Shape(branches, len(branches) < len(found) or not branches, described, _stated(cursor, "default"))


def opened(branches: Iterable[Branch]) -> tuple[Branch, ...]:
    """Return the branches with each list of known values open: a new value must not break a reader."""
    found: list[Branch] = []
    for each in branches:
        found.append(each)
        if each.enum:
            found.append(Branch(each.kind))
    return tuple(_without_repetitions(found))


def _branches(cursor: Cursor, origin: str | None, seen: tuple[str, ...]) -> list[Branch]:
    node = cursor.node
    if not isinstance(node, dict):
        return [Branch("any")]
    if isinstance(node.get("$ref"), str):
        return _referenced(cursor, node, seen)
    if "allOf" in node:
        merged, only = _merged(cursor, node, seen)
        return _branches(cursor.at(merged), origin or only, seen)
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if choices:
        found = [_limited(branch, node) for each in choices for branch in _branches(cursor.at(each), None, seen)]
    else:
        found = [branch for kind in _kinds(node) for branch in _of_kind(kind, cursor, origin)]
    return [*found, Branch("null")] if node.get("nullable") is True else found


def _limited(branch: Branch, node: Schema) -> Branch:
    """Return one of several types with the conditions that `node` states for all of them."""
    stated = {_PYDANTIC_BOUNDS.get(name, name): value for name, value in node.items() if name not in ("enum", "const")}
    return replace(branch, keywords={**branch.keywords, **_keywords(branch.kind, stated)})


def _referenced(cursor: Cursor, node: Schema, seen: tuple[str, ...]) -> list[Branch]:
    pointer = node["$ref"]
    if pointer in seen:
        raise SpecError(f"$ref {pointer} is circular: {' -> '.join([*seen, pointer])}")
    found = _branches(cursor.at(at_pointer(cursor.document, pointer)), pointer, (*seen, pointer))
    return [*found, Branch("null")] if node.get("nullable") is True else found


def _merged(cursor: Cursor, node: Schema, seen: tuple[str, ...]) -> tuple[Schema, str | None]:
    """Return one schema for all members of `allOf`, and the component that it is, if there is only one."""
    merged: Schema = {}
    origins: list[str] = []
    for member in [*node["allOf"], {key: value for key, value in node.items() if key != "allOf"}]:
        part, origin = _member(cursor, member, seen)
        if origin and ("properties" in part or "$ref" in part):
            origins.append(origin)
        elif "properties" in part:
            origins.append("")
        merged = _united(merged, part)
    return merged, origins[0] if len(origins) == 1 and origins[0] else None


def _member(cursor: Cursor, member: Any, seen: tuple[str, ...]) -> tuple[Schema, str | None]:
    origin = None
    while isinstance(member, dict) and isinstance(member.get("$ref"), str):
        origin = member["$ref"]
        if origin in seen:
            raise SpecError(f"$ref {origin} is circular: {' -> '.join([*seen, origin])}")
        seen = (*seen, origin)
        member = at_pointer(cursor.document, origin)
    if isinstance(member, dict) and "allOf" in member:
        return _merged(cursor, member, seen)[0], origin
    return (member if isinstance(member, dict) else {}), origin


def _united(one: Schema, other: Schema) -> Schema:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _kinds(node: Schema) -> list[str]:
    """Return the JSON types that a schema names, or else those that it implies."""
    values = node["enum"] if "enum" in node else [node["const"]] if "const" in node else []
    declared = node.get("type")
    if isinstance(declared, str):
        kinds = [declared]
    elif isinstance(declared, list):
        kinds = declared
    elif values:
        kinds = [_kind_of(each) for each in values]
    else:
        kinds = ["object"] if "properties" in node else ["array"] if "items" in node else ["any"]
    if None in values:
        kinds = [*kinds, "null"]
    return [each for each in dict.fromkeys(kinds) if each in {*TYPES, "any"}] or ["any"]


def _kind_of(value: Json) -> str:
    return "null" if value is None else _KINDS_OF_VALUES[type(value)]


def _of_kind(kind: str, cursor: Cursor, origin: str | None) -> list[Branch]:
    node = cursor.node
    described = node.get("description")
    if kind == "object":
        extra, properties = node.get("additionalProperties"), node.get("properties") or {}
        kept = [name for name, each in properties.items() if isinstance(each, dict) and each.get("x-undeclared")]
        return [
            Branch(
                kind,
                properties={name: cursor.at(each) for name, each in properties.items() if name not in kept},
                kept={name: cursor.at(properties[name]) for name in kept},
                required=frozenset(node.get("required") or ()),
                extra=None if extra is None else cursor.at(extra),
                origin=origin,
                description=described,
            )
        ]
    keywords = _keywords(kind, node)
    if kind == "array":
        return [Branch(kind, keywords, items=cursor.at(node.get("items", {})), description=described)]
    if kind == "number" and "enum" not in keywords:
        # JSON has one kind of number; a Python caller's 300 must not go out as 300.0.
        return [Branch("integer", keywords, description=described), Branch(kind, keywords, description=described)]
    return [Branch(kind, keywords, description=described)]


def _keywords(kind: str, node: Schema) -> dict[str, Json]:
    found = {name: node[name] for name in KEYWORDS.get(kind, ()) if node.get(name) is not None}
    if "const" in node:
        found["enum"] = [node["const"]]
    if "enum" in found:
        found["enum"] = [each for each in found["enum"] if each is not None]
    if found.get("format") not in FORMATS:
        found.pop("format", None)
    for name in ("minLength", "minItems"):
        if found.get(name) == 0:
            del found[name]
    return _with_3_1_bounds(found)


def _with_3_1_bounds(found: dict[str, Json]) -> dict[str, Json]:
    """Return the keywords with OpenAPI 3.0's exclusive bounds, which are flags, as the numbers of 3.1."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if found.get(flag) is True and bound in found:
            found[flag] = found.pop(bound)
        elif isinstance(found.get(flag), bool):
            del found[flag]
    return found


def _without_repetitions(branches: Iterable[Branch]) -> list[Branch]:
    found: list[Branch] = []
    for each in branches:
        bare = replace(each, description=None)
        if bare not in [replace(other, description=None) for other in found]:
            found.append(each)
    return found


def _stated(cursor: Cursor, keyword: str) -> Json:
    """Return what the schema itself says under `keyword`, or what it refers to says; None if neither does."""
    node = cursor.node
    while isinstance(node, dict):
        if keyword in node or not isinstance(node.get("$ref"), str):
            return node.get(keyword)
        node = at_pointer(cursor.document, node["$ref"])
    return None
