"""What values are written as in JSON, what is refused, and what is read."""

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import json
import math
import pathlib
import subprocess
import sys
import types
import typing
import uuid

import numpy as np
import pandas as pd
import pytest
from pydantic import AnyUrl, BaseModel, Field, PostgresDsn, RootModel

from flow_client import InvalidRequestError
from flow_client._core import jsontext
from flow_client._core.jsonforms import MAX_DEPTH

ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
UTC = dt.timezone.utc


class Colour(enum.Enum):
    RED = 1
    PAIR = ("a", {2})


class Word(str, enum.Enum):
    HELLO = "hello"

    def __str__(self):
        return "not this"


class OddDict(dict):
    def __str__(self):
        raise RuntimeError("nobody asks for this")


@dataclasses.dataclass
class Layer:
    units: object
    name: str = "dense"


class Config(BaseModel, arbitrary_types_allowed=True):
    rate: float = Field(1.0, alias="learningRate")
    layers: object = None
    pause: dt.timedelta = dt.timedelta(seconds=90.5)


class Attrs:
    __attrs_attrs__ = (types.SimpleNamespace(name="x"),)
    x = 5


class URL:
    def __str__(self):
        return "https://example.test/a"


class Point(typing.NamedTuple):
    x: int
    y: int


TABLE = pd.DataFrame(
    {
        "n": [1, 2],
        "share": [1.5, math.nan],
        "at": [pd.Timestamp("2026-01-05T01:02:03"), pd.NaT],
        "kind": pd.Categorical(["a", None]),
        "count": pd.array([1, None], dtype="Int64"),
    }
)
ROWS = [
    {"n": 1, "share": 1.5, "at": "2026-01-05T01:02:03", "kind": "a", "count": 1},
    {"n": 2, "share": None, "at": None, "kind": None, "count": None},
]


class LostTensor:
    def tolist(self):
        raise RuntimeError("the device is lost")


class Polars:
    """What a table of polars can do."""

    def to_dicts(self):
        return [{"a": dt.date(2026, 1, 5)}]


WRITTEN = {
    "plain": (
        {"s": "é\u2028", "i": 2**70, "f": 1.5, "b": True, "n": None, "l": [1, (2, [])]},
        {"s": "é\u2028", "i": 2**70, "f": 1.5, "b": True, "n": None, "l": [1, [2, []]]},
    ),
    "words that are no numbers": (["NaN", {"Infinity": "-Infinity"}], ["NaN", {"Infinity": "-Infinity"}]),
    "uuid": (uuid.UUID(ID), ID),
    "path": (pathlib.PurePosixPath("/a/b"), "/a/b"),
    "decimal": (decimal.Decimal("1.50"), "1.50"),
    "fraction": (fractions.Fraction(1, 3), "1/3"),
    "address": (ipaddress.ip_address("::1"), "::1"),
    "network": (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    "pydantic url": (AnyUrl("https://example.test/a"), "https://example.test/a"),
    "pydantic dsn": (PostgresDsn("postgres://user@host/base"), "postgres://user@host/base"),
    "url": (URL(), "https://example.test/a"),
    "user string": (collections.UserString("text"), "text"),
    "date": (dt.date(2026, 1, 5), "2026-01-05"),
    "time": (dt.time(1, 2, 3), "01:02:03"),
    "datetime": (dt.datetime(2026, 1, 5, 1, 2, 3, 4), "2026-01-05T01:02:03.000004"),  # noqa: DTZ001 - they exist
    "utc": (dt.datetime(2026, 1, 5, tzinfo=UTC), "2026-01-05T00:00:00Z"),
    "timedelta": (dt.timedelta(days=1, seconds=0.5), "P1DT0.5S"),
    "bytes": (b"\xc3\xa9", "é"),
    "bytearray": (bytearray(b"a"), "a"),
    "enum": (Colour.RED, 1),
    "enum of a tuple": (Colour.PAIR, ["a", [2]]),
    "enum of text": (Word.HELLO, "hello"),
    "enum of numbers": (enum.IntEnum("Number", "ONE").ONE, 1),
    "dict subclass": (OddDict(a=1), {"a": 1}),
    "other mapping": (collections.ChainMap({"a": {1}}), {"a": [1]}),
    "named tuple": (Point(1, 2), [1, 2]),
    "deque": (collections.deque([1, (2,)]), [1, [2]]),
    "range": (range(3), [0, 1, 2]),
    "array": (array.array("i", [1, 2]), [1, 2]),
    "views": ([{1: 2}.keys(), {1: 2}.values()], [[1], [2]]),
    "dataclass": (Layer({3}), {"units": [3], "name": "dense"}),
    "model": (Config(learningRate=2, layers=Layer(1)), {"learningRate": 2.0, "layers": {"units": 1, "name": "dense"}}),
    "model of numpy": (Config(layers=[np.arange(2)]), {"learningRate": 1.0, "layers": [[0, 1]]}),
    "model of a mapping": (Config(layers=collections.ChainMap({"a": 1})), {"learningRate": 1.0, "layers": {"a": 1}}),
    "root model": (RootModel[list[int]]([1]), [1]),
    "attrs": (Attrs(), {"x": 5}),
    "numpy whole number": (np.int64(3), 3),
    "numpy number": (np.float32(1.5), 1.5),
    "numpy long number": (np.longdouble(1.5), 1.5),
    "numpy boolean": (np.bool_(True), True),
    "numpy text": ([np.str_("a"), np.array(["b"]), np.array([b"c"])], ["a", ["b"], ["c"]]),
    "numpy array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "numpy long array": (np.arange(2000), list(range(2000))),
    "numpy without dimensions": (np.array(3), 3),
    "numpy objects": (np.array([1, "a", None, {2}], dtype=object), [1, "a", None, [2]]),
    "numpy object": (np.array({"a": np.int8(1)}, dtype=object), {"a": 1}),
    "numpy structure": (np.array([(1, "a")], dtype=[("n", "i4"), ("s", "U1")]), [{"n": 1, "s": "a"}]),
    "numpy masked": ([np.ma.masked_array([1, 2], [0, 1]), np.ma.masked], [[1, None], None]),
    "numpy date": (np.datetime64("2026-01-05"), "2026-01-05"),
    "numpy nanoseconds": (
        np.array(["2026-01-05T00:00:00.000000001", "NaT"], dtype="datetime64[ns]"),
        ["2026-01-05T00:00:00.000000001", None],
    ),
    "numpy duration": (np.array([90_000_000_000], dtype="timedelta64[ns]"), ["PT1M30S"]),
    "pandas table": (TABLE, ROWS),
    "pandas table with numbered columns": (pd.DataFrame([[1, 2]]), [{"0": 1, "1": 2}]),
    "pandas column": (TABLE["share"], [1.5, None]),
    "pandas times": (TABLE["at"], ["2026-01-05T01:02:03", None]),
    "pandas index": (TABLE.index, [0, 1]),
    "pandas category": (TABLE["kind"].array, ["a", None]),
    "pandas missing": ([pd.NA, pd.NaT], [None, None]),
    "pandas time": (pd.Timestamp("2026-01-05T00:00:00.000000001", tz="UTC"), "2026-01-05T00:00:00.000000001Z"),
    "pandas duration": (pd.Timedelta("90s"), "P0DT0H1M30S"),
    "pandas period": (pd.Period("2026-01"), "2026-01"),
    "polars table": (Polars(), [{"a": "2026-01-05"}]),
    "keys": (
        {
            None: 0,
            True: 1,
            2: 2,
            3.5: 3,
            uuid.UUID(ID): 4,
            Colour.RED: 5,
            dt.date(2026, 1, 5): 6,
            np.int64(7): 7,
            b"8": 8,
        },
        {"null": 0, "true": 1, "2": 2, "3.5": 3, ID: 4, "1": 5, "2026-01-05": 6, "7": 7, "8": 8},
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_value_is_written_as_the_json_that_it_stands_for(name):
    value, expected = WRITTEN[name]
    if name.startswith("model"):
        expected = {**expected, "pause": "PT1M30.5S"}
    assert json.loads(jsontext.encode({"v": [value]})) == {"v": [expected]}


def _nested(levels):
    value = "end"
    for _ in range(levels):
        value = [value]
    return value


def _within_itself():
    value = {"cfg": [1]}
    value["cfg"].append(value)
    return value


NO_FORM = {
    "object": (object(), "{} is an object, which has no JSON form"),
    "function": (len, "{} is a builtin_function_or_method, which has no JSON form; pass its name"),
    "module": (json, "{} is a module"),
    "class": (np.float64, "{} is a type"),
    "generator": ((n for n in [1]), "{} is a generator, which has no JSON form; pass list"),
    "iterator": (map(str, [1]), "{} is a map, which has no JSON form; pass list"),
    "error": (ValueError("x"), "{} is a ValueError"),
    "complex": (np.array([1j]), "{}[0] is a complex"),
    "in a dataclass": (Layer([1, object()]), "{}.units[1] is an object"),
    "in a model": (Config(layers={"k": [1, object()]}), "{}.layers.k[1] is an object"),
    "in a deque": (collections.deque([1, object()]), "{}[1] is an object"),
    "nan": (math.nan, "{} is not a finite number (nan)"),
    "infinity": ({"a": -math.inf}, "{}.a is not a finite number (-inf)"),
    "nan in a dataclass": (Layer(math.nan), "{}.units is not a finite number (nan)"),
    "nan in a model": (Config(learningRate=math.nan), "{}.learningRate is not a finite number (nan)"),
    "nan in a deque": (collections.deque([math.nan]), "{}[0] is not a finite number (nan)"),
    "nan in an array": (np.array([[1, math.nan]]), "{}[0][1] is not a finite number (nan)"),
    "infinity in a table": (pd.DataFrame({"a": [1, math.inf]}), "{}[1].a is not a finite number (inf)"),
    "nan as decimal": (decimal.Decimal("NaN"), "{} is not a finite number (NaN)"),
    "lone surrogate": ({"a b": "x\ud83d"}, "{}['a b'] has the lone surrogate '\\ud83d' at index 1"),
    "lone surrogate as key": ({"\ud83d": 1}, "{} has the key '\\ud83d', which has the lone surrogate"),
    "binary": (b"\xff", "{} has bytes that are not UTF-8 text; pass them as base64 text"),
    "tuple as key": ({(1, 2): 3}, "{} has the key (1, 2), which is a tuple"),
    "nan as key": ({math.nan: 3}, "{} has the key nan, which is not a finite number"),
    "two keys in one": ({1: "a", "1": "b"}, "{} has two keys that are '1' in JSON"),
    "two columns in one": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the same name"),
    "within itself": (_within_itself(), "{}.cfg[1] contains itself"),
    "too deep": (_nested(MAX_DEPTH + 1), f"… is nested more than {MAX_DEPTH} levels deep"),
    "too deep for any stack": (_nested(100_000), f"… is nested more than {MAX_DEPTH} levels deep"),
    "too many digits": (10**5000, "{} is a whole number that Python does not write: "),
    "a lost device": (LostTensor(), "LostTensor, which could not be turned into JSON: the device is lost"),
    "a failing conversion": (types.SimpleNamespace(tolist=lambda: 1 / 0), "{} is a types.SimpleNamespace, which could"),
}


@pytest.mark.parametrize("name", NO_FORM)
def test_a_value_without_a_json_form_is_refused_with_its_place(name):
    value, message = NO_FORM[name]
    with pytest.raises(InvalidRequestError) as caught:
        jsontext.encode({"output": {"cfg": [0, value]}})
    assert message.format("output.cfg[1]") in str(caught.value)


def test_a_recursion_limit_that_is_met_is_an_error_of_ours():
    def deeper(levels):
        return deeper(levels - 1) if levels else jsontext.encode(_nested(MAX_DEPTH))

    with pytest.raises(
        InvalidRequestError, match=f"nested too deeply for Python's recursion limit of {sys.getrecursionlimit()}"
    ):
        deeper(sys.getrecursionlimit() - 300)


def test_what_is_written_is_not_changed():
    value = {"a": [np.int64(1), {"b": {2}}], 3: collections.deque([4])}
    jsontext.encode(value)
    assert value == {"a": [1, {"b": {2}}], 3: collections.deque([4])}


def test_a_set_is_the_same_text_in_every_process():
    code = "from flow_client._core import jsontext; print(jsontext.encode({'b', 'a', 'd', 'c', 1, None}).decode())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, check=True, text=True
        ).stdout
        for seed in range(3)
    }
    assert texts == {'[null,1,"a","b","c","d"]\n'}


def test_numpy_and_pandas_are_not_imported():
    code = (
        "import sys; from flow_client._core import jsontext; jsontext.encode({1}); "
        "print({'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "set()\n"


READ = {
    "plain": (b'{"a": [1, 2.5, null, true, "\\u00e9"]}', {"a": [1, 2.5, None, True, "é"]}),
    "lone surrogate": (b'["\\ud83d"]', ["\ud83d"]),
    "many levels": (json.dumps(_nested(MAX_DEPTH)).encode(), _nested(MAX_DEPTH)),
    "byte order mark": (b'\xef\xbb\xbf"a"', "a"),
    "utf-16": ('"é"'.encode("utf-16"), "é"),
    "infinity": (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
    "large": (b"1" * 4300, int("1" * 4300)),
    "a key twice": (b'{"a": 1, "a": 2}', {"a": 2}),
}


@pytest.mark.parametrize("name", READ)
def test_what_python_reads_is_read(name):
    text, expected = READ[name]
    assert jsontext.decode(text) == expected == json.loads(text)


def test_nan_is_read():
    assert math.isnan(jsontext.decode(b"NaN"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value"),
        (b"[1,]", "line 1 column"),
        (b"<html>", "Expecting value"),
        (b'"\xff"', "can't decode byte 0xff"),
        (b"1" * 4301, "4300"),
        (b"[" * 100_000, "nested too deeply for Python's recursion limit"),
    ],
)
def test_what_is_no_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        jsontext.decode(text)
