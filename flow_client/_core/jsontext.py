"""JSON for both halves of the client: how values are written, and how what came is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from flow_client._core.jsonforms import NoFormError, members, plain, unfold
from flow_client.errors import InvalidRequestError

_SCALARS = frozenset({str, float, bool, type(None)})
# One with more digits is written and never read: Python refuses it.
_LARGEST_INT = 10**4300
_SMALLEST_INT = -_LARGEST_INT
# A value that is nested more deeply takes the long way, which says where it is too deep.
_SHALLOW = 100
_writer = json.JSONEncoder(allow_nan=False, ensure_ascii=False, check_circular=False, separators=(",", ":"))


def decode(data: bytes) -> Any:
    """Return the value of the JSON text `data`: whatever Python's own `json` reads.

    Raises:
        ValueError: it is not JSON, a whole number has more digits than Python reads, or it is nested more deeply than
            Python's recursion limit allows.
    """
    try:
        # Values hardly repeat: thousands of them would be kept for nothing.
        return from_json(data, cache_strings="keys")
    except ValueError:
        # pydantic-core takes no lone surrogates, byte order mark, UTF-16, or more than 200 levels.
        return _decode_as_python(data)


def _decode_as_python(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(f"it is nested too deeply for Python's recursion limit of {sys.getrecursionlimit()}") from None


def encode(value: Any) -> bytes:
    """Return `value` as JSON text.

    | value | JSON |
    |---|---|
    | `UUID`, `Path`, `Decimal`, `Fraction`, IP address, URL | text: `str(value)` |
    | date, time, datetime, timedelta | text in ISO 8601 |
    | bytes | text, if it is UTF-8 |
    | `Enum` | that of its value |
    | pydantic model | that of `model_dump(mode="json", by_alias=True)`; of one that is a `Mapping`, its items |
    | dataclass, attrs class, `Mapping` | object |
    | tuple and named tuple, deque, range, `Sequence` | array |
    | set | array, sorted if it can be, so that the same set is the same text in every process |
    | numpy scalar, numpy array, tensor | that of `tolist()`; dates and times in ISO 8601 |
    | table of pandas, polars or pyarrow | array of objects, one for each row |
    | column or index of those | array |
    | what pandas has for a missing value: `NaT`, `NA`, and NaN in a table | null |

    A key is written as Python's `json` writes it (`None` as `"null"`, `1` as `"1"`), and any other one as the text
    or number that it stands for.

    Raises:
        InvalidRequestError: a value has no JSON form, is NaN or infinite, has a lone surrogate, contains itself, is
            nested more than `MAX_DEPTH` levels deep, or has two keys that are one in JSON. The message says where.
    """
    try:
        if _is_plain(value, _SHALLOW):
            content = to_json(value)
            if b"NaN" not in content and b"Infinity" not in content:
                return content
    except (PydanticSerializationError, RecursionError):
        pass  # what is wrong is found again, with its place
    return _encode_any(value)


def unfolded(value: Any, place: str) -> Any:
    """Return a dataclass, a model or any other mapping as a dict with text keys, and any other value as `encode` would.

    The items are as they were: `encode` has to see them.
    """
    try:
        form = unfold(value)
        return dict(members(form)) if isinstance(form, Mapping) else form
    except NoFormError as error:
        error.steps.append(place)
        raise InvalidRequestError(f"{error.place} {error}") from error.__cause__


def _is_plain(value: Any, depth: int) -> bool:
    """Return whether `value` has JSON's own types alone. For others pydantic-core has rules that are not ours."""
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _SCALARS or (kind is int and _SMALLEST_INT < value < _LARGEST_INT)
    for item in value:
        kind = type(item)
        if kind in _SCALARS or (kind is int and _SMALLEST_INT < item < _LARGEST_INT):
            continue
        if not depth or not _is_plain(item, depth - 1):
            return False
    return True


def _encode_any(value: Any) -> bytes:
    try:
        return _writer.encode(plain(value, set())).encode()
    except NoFormError as error:
        raise InvalidRequestError(f"{error.place} {error}") from error.__cause__
    except RecursionError:
        limit = sys.getrecursionlimit()
        raise InvalidRequestError(f"the value is nested too deeply for Python's recursion limit of {limit}") from None
