"""Converts schemas to the lock's form: the lock's names and descriptions, the live document's types."""

import builtins
import re
import typing
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pydantic_core

from codegen.document import Cursor, Schema, schemas
from codegen.shapes import Branch, Shape, opened, shape

Direction = Literal["request", "answer"]

CONDITIONS = frozenset(
    {
        *("minLength", "maxLength", "pattern", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)


class Models:
    """Collects the component schemas, and remembers where each came from.

    A schema is walked together with the lock's schema at the same place, if there is one. What the lock has already
    keeps its name, order and description, so that only a change of meaning changes the lock.

    Args:
        lock: the lock as it was before this refresh.
        reserved: names that the platform's own schemas may not take.
    """

    def __init__(self, lock: Schema, reserved: Iterable[str]) -> None:
        self._lock = lock
        self._reserved = {*reserved, *schemas(lock)}
        self._owners: dict[str, tuple[str, Direction]] = {}
        self._names: dict[tuple[str, Direction], str] = {}
        self._open: list[str] = []
        self._done: set[tuple[str, str]] = set()
        self._within: list[int] = []
        self.components: dict[str, Schema] = {}
        self.notes: list[str] = []

    def schema(self, live: Cursor, ours: Cursor | None, direction: Direction, hint: str) -> Schema:
        """Return the canonical schema for `live`, beside the lock's schema `ours` at the same place.

        Args:
            live: the schema to convert.
            ours: the lock's schema for the same thing; None if it has none.
            direction: whether the client sends it or reads it.
            hint: a name for the schema if it has none of its own.
        """
        said = shape(live)
        known = None if ours is None else shape(ours)
        branches = _vocabulary(opened(said.branches) if direction == "answer" else said.branches, known)
        left = list(known.branches) if known else []
        built = [self._branch(each, _counterpart(each, left), direction, hint) for each in branches]
        found = _union(built, nullable=said.nullable)
        if "$ref" not in found:
            described = known.description if known else said.description
            found = {**found, **_described(described)}
        if said.default is not None and _may_default(found, said.default):
            found["default"] = deepcopy(said.default)
        return found

    def model(self, branch: Branch, ours: Branch | None, direction: Direction, hint: str) -> Schema:
        """Return a reference to the component that `branch`, an object with properties, becomes."""
        owner = (branch.origin or hint, direction)
        locked = _name_in_lock(ours)
        name = locked or self._names.get(owner) or self._own_name(branch, direction, hint)
        self._owners.setdefault(name, owner)
        self._names.setdefault(owner, name)
        if name in self._open or (name, branch.origin) in self._done:
            return _reference(name)
        if branch.origin:
            self._done.add((name, branch.origin))
        self._open.append(name)
        content = self._content(branch, ours if locked else None, direction, name)
        self._open.remove(name)
        present = self.components.get(name)
        self.components[name] = content if present is None else united(present, content)
        return _reference(name)

    def _branch(self, branch: Branch, ours: Branch | None, direction: Direction, hint: str) -> Schema:
        if branch.is_model:
            return self.model(branch, ours, direction, hint)
        if branch.kind == "object":
            extra = ours.extra if ours else None
            return {"type": "object", "additionalProperties": self._inner(branch.extra, extra, direction, hint) or True}
        # The client does not check the bounds of what it reads: they are the platform's business.
        left_out = CONDITIONS if direction == "answer" else ()
        keywords = {key: value for key, value in branch.keywords.items() if key not in left_out}
        found: Schema = {"type": branch.kind, **deepcopy(keywords)}
        if "enum" in found:
            found["enum"] = _in_order(found["enum"], ours.enum if ours else ())
        if "pattern" in found and not _is_usable(found["pattern"]):
            self.notes.append(f"{hint}: pydantic cannot check the pattern {found.pop('pattern')!r}; it is left out")
        if branch.items is not None:
            found["items"] = self._inner(branch.items, ours.items if ours else None, direction, f"{hint}Item")
        return found

    def _inner(self, live: Cursor | None, ours: Cursor | None, direction: Direction, hint: str) -> Schema:
        """Return the schema of the values of an object or array; one that contains itself is any JSON."""
        if live is None or not isinstance(live.node, dict) or id(live.node) in self._within:
            return {}
        self._within.append(id(live.node))
        found = self.schema(live, ours, direction, hint)
        self._within.pop()
        return found

    def _content(self, branch: Branch, ours: Branch | None, direction: Direction, name: str) -> Schema:
        known = {**ours.properties, **ours.kept} if ours else {}
        properties = {
            each: self.schema(branch.properties[each], known.get(each), direction, name + camel(each))
            for each in _in_order(branch.properties, known)
        }
        if direction == "answer" or not _refuses_extra(branch):
            properties = self._with_what_is_used(properties, known, direction, name)
        described = ours.description if ours else branch.description
        closed = direction == "request" and not (branch.extra and branch.extra.node)
        required = [each for each in properties if each in branch.required]
        return {
            "type": "object",
            **_described(described),
            "additionalProperties": not closed,
            **({"required": required} if required else {}),
            "properties": properties,
        }

    def _with_what_is_used(
        self, properties: Schema, known: dict[str, Cursor], direction: Direction, name: str
    ) -> Schema:
        """Return the properties with those that the client's own code sends or reads, declared or not."""
        used = schemas(self._lock).get(name, {}).get("x-used", ())
        kept = {
            each: {**self.schema(known[each], known[each], direction, name), "x-undeclared": True}
            for each in used
            if each in known and each not in properties
        }
        order = [*schemas(self._lock).get(name, {}).get("properties", {})]
        return {each: {**properties, **kept}[each] for each in _in_order([*properties, *kept], order)}

    def _own_name(self, branch: Branch, direction: Direction, hint: str) -> str:
        """Return a class name for a schema, after the platform's own name, that no other schema has."""
        owner = (branch.origin or hint, direction)
        for name in _candidates(branch, direction, hint):
            if self._owners.get(name) == owner or not (name in self._reserved or name in self._owners):
                return name
        raise AssertionError("the candidates never end")


def united(one: Schema, other: Schema) -> Schema:
    """Return a model that accepts what either of two accepts: operations may share a model of the client."""
    if one == other:
        return one
    properties = {
        name: _either(one["properties"].get(name), other["properties"].get(name))
        for name in {**one["properties"], **other["properties"]}
    }
    required = [name for name in properties if name in one.get("required", ()) and name in other.get("required", ())]
    found = {**other, **one, "required": required, "properties": properties}
    found["additionalProperties"] = one["additionalProperties"] or other["additionalProperties"]
    return found if required else {key: value for key, value in found.items() if key != "required"}


def camel(text: str) -> str:
    """Return `text` as a class name: `billing_info` and `billing-info` become `BillingInfo`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text))


def _candidates(branch: Branch, direction: Direction, hint: str) -> Iterable[str]:
    own = (branch.origin or "").rpartition("/")[2]
    # FastAPI's names: Record-Output, Page_Item_, app__models__Record.
    own = camel(re.sub(r"-(Input|Output)$", "", own).rpartition("__")[2] or own)
    names = [each for each in (own, hint, hint + direction.title()) if each.isidentifier()]
    yield from (each for each in names if each not in _taken_by_python())
    base = next(iter(names), "Model")
    yield from (f"{base}{number}" for number in range(2, 1_000_000))


@cache
def _taken_by_python() -> frozenset[str]:
    modules = (builtins, typing, pydantic)
    bases = ("CompleteInput", "FlowModel", "OwnAnswer", "RecordMethods")
    own = (*bases, "datetime", "date", "time", "timedelta", "Decimal", "UUID", "Enum")
    return frozenset({name for module in modules for name in dir(module)} | {*own})


def _name_in_lock(ours: Branch | None) -> str | None:
    return ours.origin.rpartition("/")[2] if ours is not None and ours.is_model and ours.origin else None


def _counterpart(branch: Branch, left: list[Branch]) -> Branch | None:
    """Take the lock's counterpart of `branch` out of those that are `left`."""
    own = (branch.origin or "/").rpartition("/")[2]
    alike = [each for each in left if each.kind == branch.kind and each.is_model == branch.is_model]
    alike.sort(key=lambda each: _name_in_lock(each) != own)
    if alike:
        left.remove(alike[0])
        return alike[0]
    return None


def _vocabulary(branches: tuple[Branch, ...], known: Shape | None) -> tuple[Branch, ...]:
    """Return the branches, with the lock's known values if the platform only says `string`."""
    if known and known.vocabulary and len(branches) == 1 and branches[0].is_plain and branches[0].kind == "string":
        return (Branch("string", {"enum": list(known.vocabulary)}), branches[0])
    return branches


def _in_order(values: Iterable[Any], known: Iterable[Any]) -> list[Any]:
    """Return `values` in the lock's order, then new ones by name: the live document's order means nothing."""
    values, first = list(values), list(known)
    return [*(each for each in first if each in values), *sorted((v for v in values if v not in first), key=repr)]


def _union(branches: list[Schema], *, nullable: bool) -> Schema:
    branches = _folded(branches)
    if not branches:
        return {}
    only = branches[0]
    if len(branches) == 1 and (not nullable or ("type" in only and "enum" not in only)):
        return {**only, "type": [*_types(only), "null"]} if nullable else only
    return {"anyOf": [*branches, *([{"type": "null"}] if nullable else [])]}


def _folded(branches: list[Schema]) -> list[Schema]:
    """Return the branches, with all plain types in one.

    The generator makes a class of each condition in a union, and a caller would get an object of that class instead of
    the value. So the platform alone checks the conditions of a union, except for a number's bounds.
    """
    if len(branches) > 1 and not _is_number(branches):
        branches = [{key: value for key, value in each.items() if key not in CONDITIONS} for each in branches]
    plain = [each for each in branches if _may_fold(each)]
    kinds = list(dict.fromkeys(kind for each in plain for kind in _types(each)))
    folded = [{**plain[0], "type": kinds}] if len(kinds) > 1 else plain[:1]
    rest = [each for each in branches if not _may_fold(each)]
    return _unique([*rest, *folded])


def _is_number(branches: list[Schema]) -> bool:
    """Return whether the branches are one number: JSON does not tell whole numbers from others."""
    bare = [{key: value for key, value in each.items() if key != "type"} for each in branches]
    return {each.get("type") for each in branches} == {"integer", "number"} and bare.count(bare[0]) == len(bare)


def _may_fold(schema: Schema) -> bool:
    return "type" in schema and not schema.keys() & {"enum", "format", "items", "additionalProperties"}


def _types(schema: Schema) -> list[str]:
    return schema["type"] if isinstance(schema.get("type"), list) else [schema["type"]]


def _either(one: Schema | None, other: Schema | None) -> Schema:
    if one is None or other is None or one == other:
        return deepcopy(one if other is None else other) or {}
    parts = [part for node in (one, other) for each in node.get("anyOf", [node]) for part in _singles(each)]
    if {} in parts:
        return _described(one.get("description"))
    null = {"type": "null"}
    merged = [each for each in parts if each != null and "enum" not in each]
    listed = [each for each in parts if "enum" in each]
    if listed:
        merged.insert(0, {**listed[0], "enum": list(dict.fromkeys(value for each in listed for value in each["enum"]))})
    return {**_union(_unique(merged), nullable=null in parts), **_described(one.get("description"))}


def _singles(schema: Schema) -> list[Schema]:
    """Split a schema of several types into one for each of them, without descriptions."""
    bare = {key: value for key, value in schema.items() if key not in ("description", "default")}
    return (
        [{**bare, "type": kind} if kind != "null" else {"type": kind} for kind in _types(bare)]
        if "type" in bare
        else [bare]
    )


def _unique(parts: list[Schema]) -> list[Schema]:
    return [each for place, each in enumerate(parts) if each not in parts[:place]]


def _refuses_extra(branch: Branch) -> bool:
    return branch.extra is not None and branch.extra.node is False


def _may_default(found: Schema, default: Any) -> bool:
    """Return whether a generated class can have this default: plain JSON that the type allows."""
    text = repr(found)
    is_plain = "'$ref'" not in text and "'format'" not in text and not (isinstance(default, dict) and default)
    return is_plain and bool(jsonschema.Draft202012Validator(found).is_valid(default))


def _is_usable(pattern: str) -> bool:
    """Return whether pydantic can check `pattern`: its engine has no look-around."""
    try:
        pydantic.TypeAdapter(Annotated[str, pydantic.Field(pattern=pattern)])
    except pydantic_core.SchemaError:
        return False
    return True


def _described(text: str | None) -> Schema:
    return {"description": text} if text else {}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
