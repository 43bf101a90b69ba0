"""Compares two locks: what changes for a caller on the wire, in Python and in behaviour.

An answer that becomes wider can break its reader; a request that becomes narrower can break its sender. Lists of known
values are open in answers, so a new value breaks nobody.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from codegen.document import Cursor, Schema, component_name, json_schema, operation_places, resolve, schemas
from codegen.matching import blank
from codegen.naming import attribute
from codegen.shapes import Branch, Shape, shape

Part = Literal["wire", "python", "behaviour"]
PARTS: tuple[Part, ...] = ("wire", "python", "behaviour")
LOWER_BOUNDS = ("minLength", "minItems", "minimum", "exclusiveMinimum")
UPPER_BOUNDS = ("maxLength", "maxItems", "maximum", "exclusiveMaximum")
LONG_PATH = 5
PYTHON_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "any": "Any"}


@dataclass(frozen=True)
class Change:
    """One change, and the part of the client that it affects."""

    part: Part
    rule: str
    breaking: bool
    attribute: str
    text: str


def compare(old: Schema, new: Schema) -> list[Change]:
    """Return the differences in meaning between two locks; their form does not matter."""
    return [*_operations(old, new), *_models(old, new)]


def python_type(cursor: Cursor) -> str:
    """Return the type that a schema becomes in the generated code, simplified for reading."""
    said = shape(cursor)
    if said.is_any:
        return "Any"
    names = list(dict.fromkeys(_python_branch(each) for each in said.branches))
    return " | ".join([*names, *(["None"] if said.nullable else [])])


# Operations


def _operations(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = _by_place(old), _by_place(new)
    for key, (path, node) in after.items():
        name = f"PlatformClient.{node.get('operationId')}"
        if key not in before:
            yield Change("wire", "operation-added", False, name, f"{path}: new operation ({name})")
            continue
        yield from _operation((old, *before[key]), (new, path, node), name)
    for key, (path, node) in before.items():
        if key not in after:
            name = f"PlatformClient.{node.get('operationId')}"
            yield Change("wire", "operation-removed", True, name, f"{path}: removed ({name})")


def _by_place(document: Schema) -> dict[str, tuple[str, Schema]]:
    """Return the operations by their ids, which stay the same when a path moves."""
    places = list(operation_places(document))
    nodes = {place: resolve(document, document["paths"][place[0]])[place[1]] for place in places}
    return {
        str(node.get("operationId") or f"{method} {blank(path)}"): (f"{method.upper()} {path}", node)
        for (path, method), node in nodes.items()
    }


def _operation(old: tuple[Schema, str, Schema], new: tuple[Schema, str, Schema], name: str) -> Iterator[Change]:
    (_, old_path, before), (_, path, after) = old, new
    if old_path != path:
        yield Change("wire", "path-changed", True, name, f"{old_path} moved to {path} ({name})")
    yield from _presence(path, before, after, name)
    yield from _parameters(old, new, name)
    yield from _bodies(old, new, name)
    yield from _codes(path, before, after, name)
    yield from _retries(path, before, after, name)


def _presence(path: str, before: Schema, after: Schema, name: str) -> Iterator[Change]:
    was_there, is_there = not before.get("x-undeclared"), not after.get("x-undeclared")
    if was_there and not is_there:
        text = f"{path}: the platform no longer has it; {name} stays and will fail"
        yield Change("wire", "operation-removed", True, name, text)
    if is_there and not was_there:
        yield Change("wire", "operation-added", False, name, f"{path}: the platform has it again ({name})")


def _parameters(old: tuple[Schema, str, Schema], new: tuple[Schema, str, Schema], name: str) -> Iterator[Change]:
    before, after = _declared(*old), _declared(*new)
    path = new[1]
    for key in sorted(before.keys() | after.keys()):
        kind, parameter = key
        what = f"{path}: {kind} parameter `{parameter}`"
        attribute = f"{name}({parameter})"
        if kind == "path":
            if key in before and key in after and _pattern(*before[key]) != _pattern(*after[key]):
                text = f"{what} has a different pattern: {_pattern(*before[key])} -> {_pattern(*after[key])}"
                yield Change("wire", "path-pattern-changed", True, attribute, text)
        elif key not in before:
            required = bool(after[key][1].get("required"))
            text = f"{what} is new{f' and required, {name} cannot supply it' if required else ''}"
            yield Change("wire", "parameter-added", required, attribute, text)
        elif key not in after:
            yield Change("wire", "parameter-removed", False, attribute, f"{what} is gone")
        elif bool(before[key][1].get("required")) != bool(after[key][1].get("required")):
            required = bool(after[key][1].get("required"))
            text = f"{what} is {f'required now, {name} cannot supply it' if required else 'optional now'}"
            yield Change("wire", "parameter-required" if required else "parameter-optional", required, attribute, text)


def _declared(document: Schema, path: str, node: Schema) -> dict[tuple[str, str], tuple[Schema, Schema]]:
    item = resolve(document, document["paths"][path.partition(" ")[2]])
    found = [resolve(document, each) for each in [*item.get("parameters", ()), *node.get("parameters", ())]]
    documented = ("idempotency-key", "prefer", "x-parent-billing-txn-id", "x-lifecycle-event")
    return {
        (each["in"], each["name"]): (document, each) for each in found if str(each["name"]).lower() not in documented
    }


def _pattern(document: Schema, parameter: Schema) -> str | None:
    found: str | None = resolve(document, parameter.get("schema", {})).get("pattern")
    return found


def _bodies(old: tuple[Schema, str, Schema], new: tuple[Schema, str, Schema], name: str) -> Iterator[Change]:
    path = new[1]
    before, after = _request(*old), _request(*new)
    if before != after:
        breaking = after is not None and (before is not None or bool(_required(new[0], after)))
        text = f"{path}: the request body is {after or 'none'}, it was {before or 'none'}"
        yield Change("wire", "request-body-changed", breaking, name, text)
    old_answer, new_answer = _answer(*old), _answer(*new)
    if old_answer != new_answer:
        text = f"{path}: the answer is {new_answer}, it was {old_answer}"
        yield Change("wire", "answer-changed", True, name, text)
        yield Change("python", "return-type-changed", True, name, f"{name} returns {new_answer}, it was {old_answer}")


def _request(document: Schema, _: str, node: Schema) -> str | None:
    schema = json_schema(document, node["requestBody"]) if "requestBody" in node else None
    return component_name(schema) if schema else None


def _required(document: Schema, model: str) -> list[str]:
    found: list[str] = schemas(document).get(model, {}).get("required", [])
    return found


def _answer(document: Schema, _: str, node: Schema) -> str:
    return python_type(Cursor(document, json_schema(document, _success(node)[1]) or {}))


def _success(node: Schema) -> tuple[str, Schema]:
    return next(((str(code), each) for code, each in node["responses"].items() if str(code).startswith("2")), ("", {}))


def _codes(path: str, before: Schema, after: Schema, name: str) -> Iterator[Change]:
    old_code, new_code = _success(before)[0], _success(after)[0]
    if old_code != new_code:
        text = f"{path}: success is {new_code}, it was {old_code}; {name} accepts any 2xx"
        yield Change("behaviour", "success-code-changed", False, name, text)
    old_errors, new_errors = _errors(before), _errors(after)
    for code in sorted(new_errors - old_errors):
        text = f"{path}: may answer {code} ({name}{_what_is_done(code)})"
        yield Change("behaviour", "error-code-added", False, name, text)
    for code in sorted(old_errors - new_errors):
        yield Change("behaviour", "error-code-removed", False, name, f"{path}: no longer declares {code} ({name})")


def _errors(node: Schema) -> set[str]:
    return {str(code) for code in node["responses"] if str(code)[:1] in "45"}


def _what_is_done(code: str) -> str:
    if code == "429":
        return " waits as Retry-After says and tries again"
    return " raises PlatformConflictError" if code == "409" else " raises PlatformStatusError"


def _retries(path: str, before: Schema, after: Schema, name: str) -> Iterator[Change]:
    old, new = before.get("x-retry", "none"), after.get("x-retry", "none")
    if old != new:
        breaking = new == "none" or (old, new) == ("keyed", "safe")
        text = f"{path}: {name} is retried as {new!r}, it was {old!r}"
        yield Change("behaviour", "retry-class-changed", breaking, name, text)


# Models


def _models(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = _classes(old), _classes(new)
    uses = {**_uses(old), **_uses(new)}
    for name in [*before, *(each for each in after if each not in before)]:
        if name not in after:
            yield Change("python", "model-removed", True, name, f"{name} is gone")
        elif name not in before:
            yield Change("python", "model-added", False, name, f"{name} is new")
        else:
            is_sent = schemas(new)[name].get("additionalProperties") is False
            yield from _Fields(name, uses.get(name, name), before[name], after[name], is_sent).changes()
            yield from _subject(name, schemas(old)[name], schemas(new)[name])


def _classes(document: Schema) -> dict[str, Branch]:
    """Return the component schemas that become classes."""
    shapes = {name: shape(Cursor(document, {"$ref": f"#/components/schemas/{name}"})) for name in schemas(document)}
    return {name: said.models[0] for name, said in shapes.items() if said.models}


def _uses(document: Schema) -> dict[str, str]:
    """Return where on the wire each model is, for messages."""
    found: dict[str, str] = {}
    for path, method in operation_places(document):
        node = resolve(document, document["paths"][path])[method]
        place = f"{method.upper()} {_short(path)}"
        if "requestBody" in node:
            _mark(document, json_schema(document, node["requestBody"]), f"{place} request", found)
        _mark(document, json_schema(document, _success(node)[1]), f"{place} answer", found)
    for name, schema in schemas(document).items():
        if "x-nats-subject" in schema:
            found[name] = f"NATS {schema['x-nats-subject']}"
    return found


def _short(path: str) -> str:
    """Return the end of a path, enough to tell it from others."""
    segments = path.split("/")
    return path if len(segments) <= LONG_PATH else f"…/{'/'.join(segments[-3:])}"


def _mark(document: Schema, node: Any, place: str, found: dict[str, str]) -> None:
    for pointer in _references(node):
        name = pointer.rpartition("/")[2]
        if name not in found:
            found[name] = place
            _mark(document, schemas(document).get(name), place, found)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)


def _subject(name: str, before: Schema, after: Schema) -> Iterator[Change]:
    old, new = before.get("x-nats-subject"), after.get("x-nats-subject")
    if old != new:
        yield Change("behaviour", "subject-changed", True, name, f"{name} goes over {new}, it was {old}")


@dataclass(frozen=True)
class _Fields:
    """The fields of one model before and after."""

    model: str
    place: str
    before: Branch
    after: Branch
    is_sent: bool

    def changes(self) -> Iterator[Change]:
        """Yield what changed in any field."""
        for name in dict.fromkeys([*self.before.properties, *self.after.properties]):
            if name not in self.before.properties:
                yield from self._added(name)
            elif name not in self.after.properties:
                yield from self._removed(name)
            else:
                yield from self._changed(name)

    def _added(self, name: str) -> Iterator[Change]:
        if name in self.before.kept:
            yield self._wire("field-declared", name, "is declared now", breaking=False)
            return
        required = self.is_sent and name in self.after.required
        more = " and required; the client's method cannot supply it" if required else ""
        yield self._wire("field-added", name, f"is new{more}", breaking=required)
        yield self._python("attribute-added", name, f"{self._type(self.after, name)}, new", breaking=required)

    def _removed(self, name: str) -> Iterator[Change]:
        if name in self.after.kept:
            does = "the client still sends it" if self.is_sent else "it reads as None when it is missing"
            yield self._wire("field-undeclared", name, f"is no longer declared; {does}", breaking=True)
            yield self._python(
                "attribute-undeclared", name, "stays, but the platform does not declare it", breaking=True
            )
            return
        gone = "is refused now; the client's method sends it" if self.is_sent else "is gone"
        yield self._wire("field-removed", name, gone, breaking=True)
        yield self._python("attribute-removed", name, f"gone, it was {self._type(self.before, name)}", breaking=True)

    def _changed(self, name: str) -> Iterator[Change]:
        old, new = shape(self.before.properties[name]), shape(self.after.properties[name])
        types = [
            *self._requiredness(name, new),
            *self._nullability(name, old, new),
            *self._kinds(name, old, new),
            *self._values(name, old, new),
        ]
        yield from types
        yield from self._conditions(name, old, new)
        yield from self._defaults(name, old, new)
        before, after = self._type(self.before, name), self._type(self.after, name)
        if before != after:
            other_classes = not self.is_sent and not _classes_of(old) <= _classes_of(new)
            breaking = other_classes or any(each.breaking for each in types)
            yield self._python("attribute-type-changed", name, f"{before} -> {after}", breaking=breaking)

    def _requiredness(self, name: str, new: Shape) -> Iterator[Change]:
        was, now = name in self.before.required, name in self.after.required
        if was and not now:
            breaking = not self.is_sent and new.default is None
            yield self._wire("field-optional", name, "is optional now", breaking=breaking)
        if now and not was:
            yield self._wire("field-required", name, "is required now", breaking=self.is_sent)

    def _nullability(self, name: str, old: Shape, new: Shape) -> Iterator[Change]:
        if old.is_any or new.is_any or old.nullable == new.nullable:
            return
        if new.nullable:
            yield self._wire("field-nullable", name, "may be null now", breaking=not self.is_sent)
        else:
            yield self._wire("field-not-nullable", name, "is never null now", breaking=self.is_sent)

    def _kinds(self, name: str, old: Shape, new: Shape) -> Iterator[Change]:
        wider, narrower = _accepts(new, old), _accepts(old, new)
        if wider and narrower:
            return
        text = f"has a different type: {_kind_names(old)} -> {_kind_names(new)}"
        yield self._wire("field-type-changed", name, text, breaking=not (wider if self.is_sent else narrower))

    def _values(self, name: str, old: Shape, new: Shape) -> Iterator[Change]:
        before, after = _enum(old), _enum(new)
        is_open = _is_open(new)
        if before is None and after is not None:
            text = f"lists its values now: {_quoted(after)}"
            yield self._wire("values-listed", name, text, breaking=self.is_sent and not is_open)
        elif after is None and before is not None:
            breaking = not self.is_sent and not _is_open(old)
            yield self._wire("values-unlisted", name, "no longer lists its values", breaking=breaking)
        elif before is not None and after is not None:
            if added := [each for each in after if each not in before]:
                breaking = not self.is_sent and not is_open
                yield self._wire("values-added", name, f"has new values: {_quoted(added)}", breaking=breaking)
            if gone := [each for each in before if each not in after]:
                breaking = not (self.is_sent and is_open)
                yield self._wire(
                    "values-removed", name, f"no longer has these values: {_quoted(gone)}", breaking=breaking
                )

    def _conditions(self, name: str, old: Shape, new: Shape) -> Iterator[Change]:
        before, after = _conditions(old), _conditions(new)
        for keyword in sorted(before.keys() | after.keys()):
            was, now = before.get(keyword), after.get(keyword)
            if was == now:
                continue
            tighter, looser = _tighter(keyword, was, now)
            text = f"has a different {keyword}: {'none' if was is None else was} -> {'none' if now is None else now}"
            breaking = tighter if self.is_sent else looser
            yield self._wire("condition-tightened" if tighter else "condition-loosened", name, text, breaking=breaking)

    def _defaults(self, name: str, old: Shape, new: Shape) -> Iterator[Change]:
        if old.default == new.default:
            return
        was = "it had none" if old.default is None else f"it was {old.default!r}"
        now = "no default now" if new.default is None else f"the default {new.default!r}"
        whole = f"{self._attribute(name)} has {now}, {was} ({self.place})"
        yield Change("behaviour", "default-changed", old.default is not None, self._attribute(name), whole)

    def _wire(self, rule: str, name: str, text: str, *, breaking: bool) -> Change:
        whole = f"{self.place}: `{name}` {text} ({self._attribute(name)})"
        return Change("wire", rule, breaking, self._attribute(name), whole)

    def _python(self, rule: str, name: str, text: str, *, breaking: bool) -> Change:
        return Change("python", rule, breaking, self._attribute(name), f"{self._attribute(name)}: {text}")

    def _attribute(self, name: str) -> str:
        return f"{self.model}.{attribute(name)}"

    def _type(self, branch: Branch, name: str) -> str:
        """Return the attribute's type: a field that may be left out reads as its default, or as None."""
        found = python_type(branch.properties[name])
        is_there = name in branch.required or shape(branch.properties[name]).default is not None
        return found if is_there or "None" in found or found == "Any" else f"{found} | None"


def _accepts(wide: Shape, narrow: Shape) -> bool:
    """Return whether every value of `narrow` is valid for `wide`, apart from null and listed values."""
    if wide.is_any or narrow.is_any:
        return wide.is_any
    return all(any(_takes(other, each) for other in wide.branches) for each in narrow.branches)


def _takes(wide: Branch, narrow: Branch) -> bool:
    if wide.kind != narrow.kind:
        return (wide.kind, narrow.kind) == ("number", "integer")
    if wide.kind == "array":
        return _accepts(_shape_of(wide.items), _shape_of(narrow.items))
    if wide.kind == "object":
        if wide.is_model and narrow.is_model:
            return wide.origin == narrow.origin
        return not wide.is_model and _accepts(_shape_of(wide.extra), _shape_of(narrow.extra))
    return wide.keywords.get("format") in (None, narrow.keywords.get("format"))


def _shape_of(cursor: Cursor | None) -> Shape:
    return Shape((), nullable=True) if cursor is None else shape(cursor)


def _classes_of(said: Shape) -> set[str]:
    """Return which classes of Python objects stand for JSON's objects: `dict`, or a model."""
    own = {_python_branch(each) if each.is_model else "dict" for each in said.branches if each.kind == "object"}
    inner = [_classes_of(shape(each.items)) for each in said.branches if each.items]
    return own.union(*inner)


def _kind_names(said: Shape) -> str:
    return "Any" if said.is_any else " | ".join(dict.fromkeys(_python_branch(b, values=False) for b in said.branches))


def _quoted(values: Iterable[Any]) -> str:
    return ", ".join(map(repr, values))


def _python_branch(branch: Branch, *, values: bool = True) -> str:
    if branch.is_model:
        return (branch.origin or "object").rpartition("/")[2]
    if values and branch.enum:
        return f"Literal[{', '.join(map(repr, branch.enum))}]"
    if branch.kind == "array":
        return f"list[{python_type(branch.items) if branch.items else 'Any'}]"
    if branch.kind == "object":
        named = branch.extra is not None and isinstance(branch.extra.node, dict)
        return f"dict[str, {python_type(branch.extra) if named and branch.extra else 'Any'}]"
    if branch.keywords.get("format") in ("date-time", "date"):
        return str(branch.keywords["format"]).replace("-", "")
    return PYTHON_TYPES.get(branch.kind, "Any")


def _enum(said: Shape) -> list[Any] | None:
    found = [value for each in said.branches for value in each.enum]
    return found or None


def _is_open(said: Shape) -> bool:
    return said.vocabulary is not None or any(each.is_plain for each in said.branches)


def _conditions(said: Shape) -> dict[str, Any]:
    """Return the bounds and patterns of a field; `exclusiveMinimum` and `minimum` are different ones."""
    names = (*LOWER_BOUNDS, *UPPER_BOUNDS, "pattern", "multipleOf")
    return {name: each.keywords[name] for each in said.branches for name in names if name in each.keywords}


def _tighter(keyword: str, was: Any, now: Any) -> tuple[bool, bool]:
    """Return whether a condition got tighter, and whether it got looser; both if it is merely different."""
    if was is None or now is None:
        return was is None, now is None
    if keyword in LOWER_BOUNDS:
        return now > was, now < was
    if keyword in UPPER_BOUNDS:
        return now < was, now > was
    return True, True
