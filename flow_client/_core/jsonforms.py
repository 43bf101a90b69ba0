"""Which JSON form a Python value has.

numpy, pandas and the like are known by what they can do: nothing is imported for them.
"""

from __future__ import annotations

import math
import os
import re
from abc import ABC
from collections import UserString, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from dataclasses import fields
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from operator import attrgetter
from typing import Any
from uuid import UUID

from pydantic_core import PydanticSerializationError, to_jsonable_python

from flow_client._core.timestamps import iso_text

MAX_DEPTH = 500
"""How many lists and objects may be within each other."""

# numpy's kinds of types whose `tolist()` gives Python's own values: numbers, booleans, text and bytes.
_LISTED_KINDS = "?biufcSUT"
_LISTS = ("to_dicts", "to_pylist", "to_list", "tolist", "item")
_MISSING = frozenset({"NAType", "NaTType"})
_URLS = frozenset({"URL", "Url", "MultiHostUrl", "_BaseUrl", "_BaseMultiHostUrl"})
_PANDAS_TEXTS = frozenset({"Period", "Interval"})
# What a value's own code raises. Not every `Exception`: a signal handler may raise what is not ours to translate.
_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_LONGEST_SHOWN = 40
_MOST_STEPS_SHOWN = 16
_SCALARS = frozenset({str, int, float, bool, type(None)})
_UNFOLDED = _SCALARS | {list, dict}


class NoFormError(Exception):
    """A value has no JSON form.

    Attributes:
        steps: the keys and indexes that lead to it, the innermost first.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.steps: list[str | int] = []

    @property
    def place(self) -> str:
        """The way to the value as Python writes it: `output.cfg.layers[1]`."""
        steps = self.steps[::-1]
        rest = "…" if len(steps) > _MOST_STEPS_SHOWN else ""
        return "".join(map(_shown_step, steps[:_MOST_STEPS_SHOWN])).lstrip(".") + rest or "the value"


def _shown_step(step: str | int) -> str:
    if isinstance(step, str) and re.fullmatch(r"[\w-]+", step):
        return f".{step[:_LONGEST_SHOWN]}"
    return f"[{_shown(step)}]"


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def plain(value: Any, above: set[int]) -> Any:
    """Return `value` in the types of JSON: dicts with text keys, lists, text, numbers, booleans and None.

    It takes one frame for each level.

    Args:
        value: the value.
        above: the ids of what the value is in; empty for the outermost.

    Raises:
        NoFormError: the value has no JSON form, or something in it has none.
        RecursionError: it is nested more deeply than the caller's stack has room for.
    """
    unfolded = unfold(value)
    if type(unfolded) in _SCALARS:
        return _checked(unfolded)
    if id(value) in above:
        raise NoFormError("contains itself; JSON has no form for that")
    if len(above) == MAX_DEPTH:
        raise NoFormError(f"is nested more than {MAX_DEPTH} levels deep")
    above.add(id(value))
    found: list[tuple[Any, Any]] = []
    inner = members(unfolded)
    step: Any = None
    try:
        for step, item in inner:
            found.append((step, plain(item, above)))
    except NoFormError as error:
        error.steps.append(step)
        raise
    above.discard(id(value))
    return [item for _, item in found] if isinstance(unfolded, list) else dict(found)


def members(unfolded: list[Any] | Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return a list's items with their indexes, a mapping's with their keys as JSON has them."""
    if isinstance(unfolded, list):
        return list(enumerate(unfolded))
    by_text: dict[str, Any] = {}
    for key, item in unfolded.items():
        text = _key(key)
        if text in by_text:
            raise NoFormError(f"has two keys that are {_shown(text)} in JSON; one of them would be lost")
        by_text[text] = item
    return list(by_text.items())


def _key(key: Any) -> str:
    """Return a key as Python's `json` writes it, or the text that it stands for."""
    try:
        form = _checked(unfold(key))
    except NoFormError as error:
        raise NoFormError(f"has the key {_shown(key)}, which {error}") from error.__cause__
    if isinstance(form, str):
        return form
    if form is None or isinstance(form, bool):
        return {None: "null", True: "true", False: "false"}[form]
    if isinstance(form, (int, float)):
        return repr(form)
    raise NoFormError(f"has the key {_shown(key)}, which is {_described(key)}; pass text as keys")


def _checked(scalar: Any) -> Any:
    """Return a scalar that JSON has a form for."""
    if isinstance(scalar, float) and not math.isfinite(scalar):
        raise NoFormError(f"is not a finite number ({scalar}); pass None or text")
    if isinstance(scalar, str) and not scalar.isascii():
        _check_text(scalar)
    if isinstance(scalar, int):
        _check_digits(scalar)
    return scalar


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        lone = ascii(text[error.start])
        raise NoFormError(f"has the lone surrogate {lone} at index {error.start}; UTF-8 has no form for it") from None


def _check_digits(number: int) -> None:
    try:
        repr(number)
    except ValueError as error:
        raise NoFormError(f"is a whole number that Python does not write: {error}") from None


def unfold(value: Any) -> Any:
    """Return `value` one level down: as a scalar, a list or a mapping, whose items may have to be unfolded in turn.

    Raises:
        NoFormError: it has no JSON form.
    """
    while type(value) not in _UNFOLDED:
        try:
            unfolded = _form(value)(value)
        except RecursionError:
            raise
        except _FAILURES as error:
            raise NoFormError(f"is {_described(value)}, which could not be turned into JSON: {error}") from error
        if isinstance(unfolded, Mapping):
            return unfolded
        value = unfolded
    return value


def _form(value: Any) -> Callable[[Any], Any]:
    """Return what unfolds `value`."""
    if isinstance(value, type):
        return _refuse
    if not _MISSING.isdisjoint(_names(value)):  # pandas: its NaT is a datetime, too
        return _null
    for known, form in _FORMS:
        if isinstance(value, known):
            return form
    for attribute, form in _DUCKS:
        if hasattr(value, attribute):
            return form
    return str if _is_text(value) else _refuse


def _names(value: Any) -> set[str]:
    return {base.__name__ for base in type(value).__mro__}


def _is_text(value: Any) -> bool:
    """Return whether `value` is a URL, or one of the kinds of pandas that stand for text."""
    kind = type(value)
    own_text = any("__str__" in vars(base) for base in kind.__mro__[:-1])
    of_pandas = kind.__module__.partition(".")[0] == "pandas"
    return own_text and (not _URLS.isdisjoint(_names(value)) or (of_pandas and kind.__name__ in _PANDAS_TEXTS))


def _refuse(value: Any) -> Any:
    advice = "pass its data as text, numbers, lists and dicts"
    if callable(value):
        advice = "pass its name, or what it returns"
    elif isinstance(value, Iterable):
        advice = "pass list(…) of it"
    raise NoFormError(f"is {_described(value)}, which has no JSON form; {advice}")


def _described(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _null(_value: Any) -> None:
    return None


def _utf8(value: bytes | bytearray | memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise NoFormError("has bytes that are not UTF-8 text; pass them as base64 text") from None


def _iso_duration(value: Any) -> Any:
    return iso_text(value) if hasattr(value, "isoformat") else to_jsonable_python(value)


def _decimal(value: Decimal) -> str:
    if value.is_finite():
        return str(value)
    raise NoFormError(f"is not a finite number ({value}); pass None or text")


def _sorted(value: AbstractSet[Any]) -> list[Any]:
    """The same set is the same text in every process, whatever its hashes: a repeated request is known by its body."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=lambda item: (type(item).__name__, repr(item)))


class _Model(ABC):  # noqa: B024 - it is only asked about
    """Any pydantic model. pydantic's own class would take as long to import as all of this package."""

    @classmethod
    def __subclasshook__(cls, kind: type) -> bool:
        return hasattr(kind, "__pydantic_generic_metadata__")


def _model(value: Any) -> Any:
    try:
        return value.model_dump(mode="json", by_alias=True, fallback=_for_pydantic)
    except (PydanticSerializationError, NoFormError):
        plain(value.model_dump(by_alias=True), set())  # which names the place
        raise


def _for_pydantic(value: Any) -> Any:
    unfolded = unfold(value)
    return dict(unfolded) if isinstance(unfolded, Mapping) else unfolded


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _attrs_fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in value.__attrs_attrs__}


def _rows(table: Any) -> list[dict[Any, Any]]:
    columns = list(table.columns)
    if len(set(columns)) < len(columns):
        raise NoFormError("is a table in which two columns have the same name")
    return [dict(zip(columns, map(_known, row), strict=True)) for row in table.itertuples(index=False, name=None)]


def _column(values: Any) -> list[Any]:
    return [_known(item) for item in values.tolist()]


def _known(item: Any) -> Any:
    """NaN in a pandas table stands for a missing value."""
    return None if isinstance(item, float) and item != item else item  # noqa: PLR0124 - so it is known from numbers


def _array(value: Any) -> Any:
    if value.ndim == 0:
        return _array_item(value)
    listed = value.dtype.kind in _LISTED_KINDS and not hasattr(value, "mask")
    return value.tolist() if listed else list(value)


def _array_item(value: Any) -> Any:
    kind, names = value.dtype.kind, value.dtype.names
    if kind == "M":  # its `item()` is a whole number when it counts nanoseconds
        return None if (text := str(value)) == "NaT" else text
    if kind == "m":
        return value.astype("timedelta64[us]").item()
    if names:
        return {name: value[name] for name in names}
    item = value.tolist()  # not `item()`, which gives a masked one away
    return float(item) if type(item) is type(value) else item


def _mapping(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return value


def _listed(value: Any) -> Any:
    method = next(getattr(value, name) for name in _LISTS if hasattr(value, name))
    return method()


_FORMS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, attrgetter("value")),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((bytes, bytearray, memoryview), _utf8),
    ((UUID, Fraction, IPv4Address, IPv4Network, IPv6Address, IPv6Network, UserString), str),
    (Decimal, _decimal),
    (os.PathLike, os.fspath),
    ((date, time), iso_text),
    (timedelta, _iso_duration),
    (Mapping, _mapping),  # the client's own models too: as they came
    (_Model, _model),
    ((set, frozenset), _sorted),
    ((deque, Sequence, AbstractSet, ValuesView), list),
)
_DUCKS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("__dataclass_fields__", _fields),
    ("__attrs_attrs__", _attrs_fields),
    ("itertuples", _rows),  # a table of pandas
    ("isna", _column),  # a column, an index or an array of pandas
    ("__array_interface__", _array),  # numpy's arrays and scalars
    *((name, _listed) for name in _LISTS),
)
