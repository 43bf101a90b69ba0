"""A user's code, never run: mypy and pyright read it in `make types`.

`type: ignore` stands where an error has to be: an unused one is an error itself.
"""

from __future__ import annotations

import uuid
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import assert_type

import flow_client
from flow_client import EventStream, ExecutionHandle, NatsBridge, PlatformClient
from flow_client.models import AgentCallResponse, ExecutionCancellation, ExecutionEvent, ExecutionInput, ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Mapping


def free_json_is_read_without_a_check(record: ExecutionRecord, answer: AgentCallResponse) -> None:
    assert_type(record.output, Any)
    words: int = record.output["words"]
    tokens: int = record.usage["input_tokens"] + answer.usage["input_tokens"]
    print(words, tokens, record.error["message"], record.messages[0], record.state["x"], record.metrics["x"])
    for part in answer.output:
        print(part)


def records_say_how_long_they_ran(records: list[ExecutionRecord]) -> list[dict[str, Any]]:
    assert_type(records[0].duration, float | None)
    seconds = [record.duration for record in records if record.duration is not None]
    print(sum(seconds), records[0].raise_for_status().output["words"])
    return [record.to_dict() for record in records]


def answers_are_read_as_dicts(client: PlatformClient, record: ExecutionRecord, given: ExecutionInput) -> dict[str, Any]:
    handle = client.submit_code_block_execution("count-words", {})
    assert_type(handle["execution_id"], Any)
    assert_type(record["output"], Any)
    assert_type(record.get("created_at"), Any)
    for answer in (record, given, handle, client.cancel_execution(handle), client.execute_agent("a", {}, None)):
        assert_type(dict(answer), dict[str, Any])
        assert_type({**answer}, dict[str, Any])
        assert_type(answer.copy(), dict[str, Any])
        assert_type(sorted(answer), list[str])
        print("error" in answer, len(answer), answer == {"status": "completed"}, show_fields(answer, **answer))
        for name, value in answer.items():
            print(name.upper(), value["x"])
    record["status"] = "seen"  # type: ignore[index]
    record.pop("status")  # type: ignore[attr-defined]
    client.get_service_skills("search", version=3)
    client.get_service_skills("search", version=3.0)  # type: ignore[arg-type]
    print(flow_client.PlatformTimeOutError)  # type: ignore[attr-defined]
    return record | {"mine": 1}


def show_fields(answer: Mapping[str, Any], **fields: Any) -> str:
    return f"{answer['status']} {fields}"


def the_execution_mode_says_what_an_agent_returns(client: PlatformClient, mode: Literal["inline", "isolated"]) -> None:
    assert_type(client.execute_agent("writer", {"topic": "x"}, None), AgentCallResponse)
    assert_type(client.execute_agent("writer", {"topic": "x"}, {}, "inline"), AgentCallResponse)
    assert_type(client.execute_agent("writer", {}, None, execution_mode="isolated"), ExecutionRecord)
    assert_type(client.execute_agent("writer", {}, None, "isolated", None, "ring-1", 60), ExecutionRecord)
    assert_type(client.execute_agent("writer", {}, None, mode), AgentCallResponse | ExecutionRecord)
    client.execute_agent("writer", {}, None, execution_mode="isolated", on_event=show)


def a_wrong_execution_mode_is_an_error(client: PlatformClient) -> None:
    client.execute_agent("writer", {}, None, execution_mode="isolate")  # type: ignore[call-overload]
    client.execute_agent("writer", {}, None, on_event=show)  # type: ignore[call-overload]


def executions_are_given_by_id_or_handle(client: PlatformClient, handle: ExecutionHandle) -> None:
    for execution in ("e-1", uuid.uuid4(), handle):
        assert_type(client.get_execution_status(execution), ExecutionRecord)
        assert_type(client.await_execution_result(execution, timeout_seconds=None), ExecutionRecord)
        assert_type(client.cancel_execution(execution), ExecutionCancellation)
        assert_type(client.execution(execution), ExecutionHandle)
        assert_type(next(client.execution_events(execution)), ExecutionEvent)
    client.get_execution_status(None)  # type: ignore[arg-type]


def a_bridges_events_can_be_closed(bridge: NatsBridge, until: Future[Any]) -> None:
    events = bridge.events("e-1", from_sequence=2, until=until)
    assert_type(events, EventStream)
    assert_type(next(events), ExecutionEvent)
    events.close()


def handles_are_waited_for(handle: ExecutionHandle) -> None:
    assert_type(handle.wait(timeout=None, on_interrupt="cancel"), ExecutionRecord)
    assert_type(handle.result(60), Any)
    assert_type(handle.future(), Future[ExecutionRecord])
    assert_type(handle.cancel(), ExecutionCancellation)


def records_are_mapped(client: PlatformClient) -> None:
    submit = partial(client.submit_code_block_execution, "count-words", ring_id=uuid.uuid4())
    for record in client.map(submit, [{"text": "a"}]):
        assert_type(record, ExecutionRecord)
    for outcome in client.map(submit, [{"text": "a"}], return_exceptions=True):
        assert_type(outcome, ExecutionRecord | Exception)


def clients_are_made_and_copied(url: str) -> None:
    assert_type(flow_client.__version__, str)
    with PlatformClient(url, lambda: "token", org_id=uuid.uuid4(), ring_id="ring-1") as client:
        assert_type(client.with_options(timeout=5), PlatformClient)


def show(event: ExecutionEvent) -> None:
    print(event.event_data["text"])
