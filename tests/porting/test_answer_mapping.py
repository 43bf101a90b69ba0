"""Answers are read as the dicts that they were on the wire."""

import asyncio
import copy
import functools
import inspect
import json
import pickle
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated

import pandas as pd
import pytest
from pydantic import ConfigDict, Field, TypeAdapter

from flow_client import ConfigurationError, InvalidRequestError, PlatformClient
from flow_client._api.base import FlowModel
from flow_client._core import jsontext
from flow_client.executions import ExecutionHandle
from flow_client.models import (
    AgentCallResponse,
    ErrorResponse,
    ExecutionAccepted,
    ExecutionCancellation,
    ExecutionEvent,
    ExecutionInput,
    ExecutionRecord,
)
from flow_client.worker import Task, _handlers

WIRE = {
    "status": "completed",
    "execution_id": "e-1",
    "region": {"name": "eu"},
    "output": {"n": [1, None]},
    "created_at": "2026-01-05T09:30:00+00:00",
    "finished_at": None,
    "items": [1],
    "keys": "k",
}
MODELS = {
    ExecutionRecord: WIRE,
    ExecutionAccepted: {"status": "pending", "execution_id": "e-1", "ring": "r", "created_at": "2026-01-05T09:30:00Z"},
    ExecutionCancellation: {"accepted": True},
    AgentCallResponse: {"usage": {}, "output": "hi", "model": "m"},
    ExecutionEvent: {
        "execution_id": "e-1",
        "sequence": 1,
        "event_type": "chunk",
        "event_data": None,
        "more": 1,
        "timestamp": "2026-01-05T09:30:00.000000+00:00",
    },
    ExecutionInput: {"state": {"a": 1}, "config": {}, "input_data": [], "session_id": None, "messages": []},
    ErrorResponse: {"detail": [{"loc": ["body"], "msg": "x"}], "trace": "t"},
}


def answers():
    for model, wire in MODELS.items():
        yield pytest.param(model.model_validate(wire), wire, id=model.__name__)
    client = PlatformClient("http://flow.test", "t", "o", "w")
    accepted = MODELS[ExecutionAccepted]
    yield pytest.param(
        ExecutionHandle(client, "e-1", ExecutionAccepted.model_validate(accepted)), accepted, id="handle"
    )
    yield pytest.param(client.execution("e-7"), {"execution_id": "e-7"}, id="handle without a submission")


ANSWERS = list(answers())


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_an_answer_reads_as_the_dict_that_came(answer, wire):
    assert dict(answer) == wire
    assert json.dumps(dict(answer)) == json.dumps(wire)  # in its order, too
    assert list(answer) == list(wire)
    assert (len(answer), bool(answer)) == (len(wire), True)
    assert list(reversed(answer)) == list(reversed(wire))
    assert answer.keys() == wire.keys()
    assert list(answer.items()) == list(wire.items())
    assert list(answer.values()) == list(wire.values())
    assert {**answer} == wire
    assert dict(**answer) == wire
    assert str(answer) == str(wire)
    assert "{execution_id}".format_map({"execution_id": 1, **answer}) == str(wire.get("execution_id", 1))
    for key, value in wire.items():
        assert key in answer
        assert answer[key] == answer.get(key) == value
    assert isinstance(answer, Mapping)
    assert not isinstance(answer, dict)


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_an_answer_equals_a_dict(answer, wire):
    assert answer == wire
    assert wire == answer
    assert answer != {**wire, "more": 2}
    assert answer != 1


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_dicts_are_made_of_an_answer(answer, wire):
    mine = answer.copy()
    assert (type(mine), mine) == (dict, wire)
    mine["mine"] = 1
    assert "mine" not in answer
    assert answer | {"mine": 1} == {"mine": 1} | answer == mine
    assert next(iter({"mine": 1} | answer)) == "mine"
    found = {}
    found |= answer
    found.update(answer)
    assert found == wire
    with pytest.raises(TypeError):
        answer | [1]


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_what_did_not_come_is_no_key(answer, wire):
    assert "no such" not in answer
    assert answer.get("no such") is None
    assert answer.get("no such", 7) == 7
    with pytest.raises(KeyError) as caught:
        answer["no such"]
    assert caught.value.args == ("no such",)
    assert caught.value.__notes__ == [f"This {type(answer).__name__} has {', '.join(wire)}."]
    with pytest.raises(KeyError):
        answer[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.__setitem__("a", 1),
        lambda x: x.__delitem__("status"),
        lambda x: x.pop("status", None),
        lambda x: x.update(a=1),
        lambda x: x.setdefault("a", 1),
        lambda x: x.clear(),
        lambda x: x.popitem(),
        lambda x: x.__ior__({"a": 1}),
    ],
)
@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_an_answer_is_not_changed_as_a_dict(answer, wire, change):
    with pytest.raises(TypeError, match=rf"this {type(answer).__name__} is read-only: take dict\(…\) of it"):
        change(answer)
    assert answer == wire


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_patterns_match(answer, wire):
    match answer:
        case {"no such": _}:
            pytest.fail("it is not there")
        case {**fields}:
            assert fields == wire


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_copies_and_pickles_read_the_same(answer, wire):
    if isinstance(answer, ExecutionHandle):
        assert dict(pickle.loads(pickle.dumps(answer))) == wire
        assert dict(ExecutionHandle.from_dict(json.loads(json.dumps(answer.to_dict())))) == wire
        return
    for copied in (copy.copy(answer), copy.deepcopy(answer), pickle.loads(pickle.dumps(answer)), answer.model_copy()):
        assert dict(copied) == wire
        assert list(copied) == list(wire)
        assert copied == answer


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_an_answer_is_sent_on_as_it_came(answer, wire):
    assert json.loads(jsontext.encode({"input_data": [answer]})) == {"input_data": [wire]}
    assert jsontext.unfolded(answer, "input_data") == wire


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_a_handler_may_return_an_answer(answer, wire):
    assert _handlers.call(lambda _task: answer, Task())["output"] == wire


def test_answers_become_the_rows_of_a_table():
    table = pd.DataFrame([ExecutionRecord.model_validate(WIRE), ExecutionRecord.model_validate(WIRE)])
    assert set(table.columns) == set(WIRE)  # older ones sort the columns of what is no dict
    assert list(table["status"]) == ["completed", "completed"]


# --- a forgotten await, and what else only coroutines can do


async def awaits(answer):
    return await answer


@pytest.mark.parametrize(("answer", "wire"), ANSWERS)
def test_a_forgotten_await_says_what_to_do(answer, wire):
    with pytest.raises(TypeError, match=r"PlatformClient is synchronous.*remove `await`"):
        asyncio.run(awaits(answer))


def test_gathering_answers_says_what_to_do():
    async def main():
        await asyncio.gather(*[ExecutionRecord.model_validate(WIRE)] * 2)

    with pytest.raises(TypeError, match=r"unhashable type: 'ExecutionRecord'.*asyncio\.gather.*client\.map"):
        asyncio.run(main())


def test_async_with_says_what_to_do():
    async def main():
        async with PlatformClient("http://flow.test", "t"):
            pass

    with pytest.raises(TypeError, match="write `with` in place of `async with`"):
        asyncio.run(main())


def test_async_for_says_what_to_do():
    client = PlatformClient("http://flow.test", "t", "o", "w", nats_url="nats://127.0.0.1:1")

    async def main(items):
        async for _ in items:
            pass

    for items in (client.map(client.submit_code_block_execution, []), client.execution_events("e-1")):
        with pytest.raises(TypeError, match="write `for` in place of `async for`"):
            asyncio.run(main(items))
    client.close()


async def called_back(_value=None):
    pytest.fail("nobody would await it")


class CalledBack:
    async def __call__(self, _value=None):
        pytest.fail("nobody would await it")


@pytest.mark.parametrize("function", [called_back, CalledBack(), functools.partial(called_back, 1)])
def test_async_callbacks_are_refused(function):
    for setting in ("auth_token", "on_auth_token_refresh"):
        with pytest.raises(ConfigurationError, match=f"{setting} is an async function; it must be a plain one"):
            PlatformClient("http://flow.test", **{"auth_token": "t", setting: function})
    client = PlatformClient("http://flow.test", "t", "o", "w", nats_url="nats://127.0.0.1:1")
    with pytest.raises(InvalidRequestError, match="it must be a plain function of an event"):
        client.execute_workflow("wf", {}, ring_id="r", on_event=function)
    client.close()


def test_a_client_can_be_closed_by_the_async_name():
    client = PlatformClient("http://flow.test", "t", "o", "w")
    assert client.aclose() is None
    client.close()
    assert not any(inspect.iscoroutinefunction(getattr(PlatformClient, name)) for name in dir(PlatformClient))


# --- attributes beside keys


def test_keys_are_as_on_the_wire_and_attributes_are_pythons():
    record = ExecutionRecord.model_validate(WIRE)
    assert record["created_at"] == "2026-01-05T09:30:00+00:00"
    assert record.created_at == datetime(2026, 1, 5, 9, 30, tzinfo=timezone.utc)
    assert record["finished_at"] is record.finished_at is None
    assert "error" not in record
    assert record.error is None
    assert record["region"] == record.region == {"name": "eu"}


def test_a_field_with_the_name_of_a_method_is_a_key():
    record = ExecutionRecord.model_validate(WIRE)
    assert record["items"] == [1]
    assert record["keys"] == "k"
    assert list(record.keys()) == list(WIRE)
    assert next(iter(record.items())) == ("status", "completed")


def test_a_declared_field_has_the_platforms_name_as_its_key():
    class Answer(FlowModel):
        model_config = ConfigDict(extra="allow")
        items_: Annotated[list, Field(alias="items")]
        at: datetime | None = None

    assert dict(Answer.model_validate({"items": [1]})) == {"items": [1]}
    made = Answer(items=[1], at="2026-01-05T09:30:00Z", other=2)
    assert dict(made) == {"items": [1], "at": "2026-01-05T09:30:00Z", "other": 2}


def test_large_values_are_shared_and_not_copied():
    body = {"execution_id": "e-1", "status": "completed", "output": {"large": ["x"]}, "new": {"large": ["x"]}}
    record = ExecutionRecord.model_validate(body)
    assert record["output"] is record.output is body["output"]
    assert record["new"] is record.new is body["new"]
    for copied in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert copied["output"] is copied.output


def test_the_dict_that_it_was_made_of_may_be_changed():
    body = dict(WIRE)
    record = ExecutionRecord.model_validate(body)
    body.clear()
    assert record == WIRE


def test_a_model_that_was_made_here_has_the_fields_that_were_set():
    record = ExecutionRecord(execution_id="e-1", status="failed", started_at="2026-01-05T00:00:00", extra=1)
    assert dict(record) == {"execution_id": "e-1", "status": "failed", "started_at": "2026-01-05T00:00:00", "extra": 1}
    assert dict(TypeAdapter(ExecutionRecord).validate_python(WIRE))["created_at"] == "2026-01-05T09:30:00Z"
    assert dict(ErrorResponse(detail=[{"loc": ["a"], "msg": "b"}])) == {"detail": [{"loc": ["a"], "msg": "b"}]}


def test_what_is_changed_by_attribute_is_seen_as_a_key():
    record = ExecutionRecord.model_validate(WIRE)
    record.output = 7
    assert (record["output"], record["region"]) == (7, {"name": "eu"})
    assert record.model_copy(update={"output": 8, "new": 9})["output"] == 8
    assert record.model_copy(update={"output": 8, "new": 9})["new"] == 9
    del record.region
    assert "region" not in record


def test_models_are_equal_by_their_values_as_before():
    text = ExecutionRecord.model_validate({**WIRE, "created_at": "2026-01-05T09:30:00Z"})
    assert text == ExecutionRecord.model_validate(WIRE)
    assert text["created_at"] != ExecutionRecord.model_validate(WIRE)["created_at"]
    assert text != ExecutionRecord.model_validate({**WIRE, "output": 1})


def test_two_handles_are_two():
    client = PlatformClient("http://flow.test", "t", "o", "w")
    one, other = client.execution("e-1"), client.execution("e-1")
    assert one != other
    assert {one, other, one} == {other, one}
    assert one != ExecutionAccepted(execution_id="e-1", status="x")
    assert ExecutionAccepted(execution_id="e-1", status="x") != one


def test_an_input_has_the_contracts_defaults():
    defaults = {"input_data": {}, "session_id": None, "messages": [], "state": {}}
    assert dict(ExecutionInput.model_validate({})) == dict(ExecutionInput()) == defaults
    given = ExecutionInput.model_validate({"config": {"a": 1}, "input_data": [1]})
    assert dict(given) == {**defaults, "config": {"a": 1}, "input_data": [1]}
    assert given["messages"] is given.messages
    assert ExecutionInput.model_validate({})["state"] is not ExecutionInput.model_validate({})["state"]


def test_an_answer_that_is_no_object_has_the_key_body():
    assert dict(ExecutionCancellation.model_validate([1])) == {"body": [1]}
    assert dict(ExecutionCancellation.model_validate(None)) == {}
    assert not ExecutionCancellation.model_validate(None)


def test_the_rest_of_a_model_is_pydantics():
    record = ExecutionRecord.model_validate(WIRE)
    assert record.model_dump()["region"] == {"name": "eu"}
    assert record.model_dump(exclude_unset=True).keys() == WIRE.keys()
    assert set(vars(record)) == set(ExecutionRecord.model_fields)
    assert repr(record).startswith("ExecutionRecord(execution_id='e-1', status='completed'")
    assert ExecutionRecord.model_validate_json(json.dumps(WIRE)) == record
    assert ExecutionRecord.model_validate(record) is record
