"""Arguments that cannot be used: a clear error at the door, and nothing is sent."""

import json
import math
import sys
import time
import uuid
from decimal import Decimal

import pytest
from support.http import Answer

import flow_client
from flow_client import ConfigurationError, InvalidRequestError, NatsBridge, PlatformClient, worker
from flow_client.local import LocalPlatform

E1 = "e-1"
ACCEPTED = Answer(202, {"execution_id": E1, "status": "pending"})
NOBODY = "nats://127.0.0.1:9"

HUGE = [1e10, sys.maxsize, 10**400, 1e300, math.inf]
UNUSABLE = [*HUGE, -math.inf, math.nan, -1, True, "5", Decimal(5)]
IDS = [str(value)[:8] for value in UNUSABLE]


def submitting(name):
    return lambda client, value: getattr(client, name)("c-1", {}, ring_id="r", timeout_seconds=value)


def executing(name, *arguments, **options):
    return lambda client, value: getattr(client, name)("c-1", {}, *arguments, timeout_seconds=value, **options)


def awaiting(name):
    return lambda client, value: client.await_execution_result(E1, **{name: value})


OF_THE_CLIENT = {
    "with_options": lambda client, value: client.with_options(timeout=value),
    "submit_code_block_execution": submitting("submit_code_block_execution"),
    "submit_workflow_execution": submitting("submit_workflow_execution"),
    "submit_agent_execution": submitting("submit_agent_execution"),
    "execute_code_block": executing("execute_code_block", None, ring_id="r"),
    "execute_workflow": executing("execute_workflow", ring_id="r"),
    "execute_agent inline": executing("execute_agent", None),
    "execute_agent isolated": executing("execute_agent", None, "isolated", ring_id="r"),
    "await timeout": awaiting("timeout_seconds"),
    "await interval": awaiting("poll_interval_seconds"),
    "await grace": awaiting("not_found_retry_seconds"),
    "handle.wait": lambda client, value: client.execution(E1).wait(value),
    "handle.result": lambda client, value: client.execution(E1).result(value),
    "handle.future": lambda client, value: client.execution(E1).future(value),
    "map": lambda client, value: list(client.map(lambda _: client.execution(E1), [1], timeout=value)),
    "map patience": lambda client, value: list(client.map(lambda _: client.execution(E1), [1], patience=value)),
    "fetch_execution_input": lambda client, value: client._open_bridge().fetch_execution_input(None, E1, timeout=value),
}


@pytest.mark.parametrize("value", UNUSABLE, ids=IDS)
@pytest.mark.parametrize("call", OF_THE_CLIENT.values(), ids=OF_THE_CLIENT.keys())
def test_a_duration_that_cannot_be_waited_for_is_refused_before_anything_is_sent(make_client, http_server, call, value):
    client = make_client(nats_url=NOBODY)
    with pytest.raises(
        (InvalidRequestError, ConfigurationError), match=r"(timeout|seconds|patience) is .* a number of seconds"
    ):
        call(client, value)
    assert http_server.received == []


@pytest.mark.parametrize("value", UNUSABLE, ids=IDS)
@pytest.mark.parametrize("name", ["connect_timeout", "close_timeout", "publish_timeout"])
def test_a_bridge_refuses_the_same(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is"):
        NatsBridge(NOBODY, **{name: value})


@pytest.mark.parametrize("value", UNUSABLE, ids=IDS)
def test_flush_refuses_the_same(value):
    with NatsBridge(NOBODY) as bridge, pytest.raises(InvalidRequestError, match="timeout is"):
        bridge.flush(value)


@pytest.mark.parametrize("value", UNUSABLE, ids=IDS)
@pytest.mark.parametrize("name", ["connect_timeout", "input_timeout", "grace_seconds"])
def test_a_worker_refuses_the_same(name, value, capsys):
    code = worker.run(lambda _: None, execution_id=E1, nats_url=NOBODY, **{name: value})
    assert code == worker.EXIT_USAGE
    assert f"{name} is" in capsys.readouterr().err


@pytest.mark.parametrize("value", [*HUGE, math.nan, True, "5"], ids=str)
def test_a_local_platform_refuses_the_same(components, value):
    with pytest.raises(InvalidRequestError, match="expires_in is"):
        LocalPlatform(components).issue_token(expires_in=value)


@pytest.mark.parametrize("timeout", [1e9, 4_294_967.796, 2_147_484])
def test_a_long_timeout_is_kept_to_by_the_socket_too(make_client, http_server, timeout):
    """`poll` counts milliseconds in 32 bits: of 4,294,967.796 s there were 500 ms left."""

    def answer(_request):
        time.sleep(0.8)
        return Answer(200, {"execution_id": E1, "status": "completed"})

    http_server.handle = answer
    assert make_client(timeout=timeout, max_attempts=1).get_execution_status(E1).status == "completed"


def test_the_longest_durations_can_be_waited_for(make_client, http_server, nats_server, bus):
    client = make_client(nats_url=nats_server.url, timeout=1e9, ring_id="r")
    assert client.await_execution_result(E1, timeout_seconds=1e9, not_found_retry_seconds=1e9).status == "completed"
    assert client.execution(E1).future(1e9).result(30).status == "completed"
    assert [record.status for record in client.map(lambda _: client.execution(E1), [1], timeout=1e9)] == ["completed"]
    http_server.queue(ACCEPTED)
    assert client.execute_workflow("w-1", {}, timeout_seconds=1e9, on_event=print).status == "completed"
    bus.put_input(E1)
    with NatsBridge(nats_server.url, connect_timeout=1e9, close_timeout=1e9, publish_timeout=1e9) as bridge:
        assert bridge.fetch_execution_input(None, E1, timeout=1e9).input_data == {}
        bridge.push_execution_event(None, E1, "chunk", 1)
        bridge.flush(1e9)
        bridge.push_execution_output(None, E1, 1)
        bridge.push_execution_event(None, E1, "done", 1)
    assert [event["event_type"] for event in bus.events(E1)] == ["chunk", "done"]


def test_no_limit_is_none(client, http_server):
    http_server.queue(Answer(200, {"execution_id": E1, "status": "running"}))
    assert client.await_execution_result(E1, timeout_seconds=None).status == "completed"
    assert client.execution(E1).wait(None).status == "completed"


def test_without_a_limit_or_a_lifecycle_event_the_platform_gets_the_defaults(client, http_server):
    http_server.default = ACCEPTED
    unset = {"ring_id": "r", "timeout_seconds": None, "lifecycle_event": None}
    client.submit_code_block_execution("c-1", {}, **unset)
    client.submit_agent_execution("c-1", {}, **unset)
    sent = [(each.json["timeout_seconds"], each.json["lifecycle_event"]) for each in http_server.received]
    assert sent == [(300, "workflow"), (300, "agent_run")]


KEYED = {
    "submit_code_block_execution": lambda c, **o: c.submit_code_block_execution("c-1", {}, ring_id="r", **o),
    "submit_workflow_execution": lambda c, **o: c.submit_workflow_execution("c-1", {}, ring_id="r", **o),
    "submit_agent_execution": lambda c, **o: c.submit_agent_execution("c-1", {}, ring_id="r", **o),
    "execute_code_block": lambda c, **o: c.execute_code_block("c-1", {}, None, ring_id="r", **o),
    "execute_workflow": lambda c, **o: c.execute_workflow("c-1", {}, ring_id="r", **o),
    "execute_agent": lambda c, **o: c.execute_agent("c-1", {}, None, **o),
    "execute_agent isolated": lambda c, **o: c.execute_agent("c-1", {}, None, "isolated", ring_id="r", **o),
    "execute_transform": lambda c, **o: c.execute_transform("c-1", {}, None, **o),
}


@pytest.mark.parametrize(
    "key", ["", 0, False, 7, b"k", " ", " k", "k ", "k\n", "ä", "k" * 256, uuid.UUID(int=7)], ids=repr
)
@pytest.mark.parametrize("call", KEYED.values(), ids=KEYED.keys())
def test_an_idempotency_key_that_cannot_be_used_is_refused(client, http_server, call, key):
    with pytest.raises(InvalidRequestError, match="idempotency_key is"):
        call(client, idempotency_key=key)
    assert http_server.received == []


@pytest.mark.parametrize("name", ["code_block_id", "workflow_id", "agent_id"])
def test_an_id_of_none_is_not_said_to_be_a_setting(client, name):
    submit = getattr(client, f"submit_{name.removesuffix('_id')}_execution")
    with pytest.raises(InvalidRequestError, match=f"^{name} is None; it must be a UUID or a string") as caught:
        submit(None, {}, ring_id="r")
    assert name.upper() not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": 5}, "base_url is 5"),
        ({"base_url": b"http://h"}, "base_url is b'http://h'"),
        ({"base_url": 0}, "base_url is 0"),
        ({"auth_token": 5}, "the token must be"),
        ({"auth_token": 0}, "the token must be"),
        ({"org_id": 5}, "org_id is 5"),
        ({"workspace_id": b"w"}, "workspace_id is b'w'"),
        ({"ring_id": 5}, "ring_id is 5"),
        ({"nats_url": 5}, "nats_url is int"),
        ({"on_auth_token_refresh": "print"}, "on_auth_token_refresh is str"),
    ],
)
def test_a_setting_of_another_type_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        PlatformClient(**{"base_url": "http://127.0.0.1:9", "auth_token": "t-1", **settings})


def test_another_executions_record_is_not_taken(client, http_server):
    http_server.handle = lambda _: Answer(200, {"execution_id": "e-2", "status": "completed"})
    for read in (client.get_execution_status, client.await_execution_result):
        with pytest.raises(flow_client.PlatformResponseError, match=r"asked for execution e-1.* of 'e-2'") as caught:
            read(E1)
        assert caught.value.execution_id == E1
    with pytest.raises(flow_client.PlatformResponseError):
        client.execution(E1).future().result(30)


def test_a_uuid_may_be_written_in_another_way(client, http_server):
    asked = uuid.uuid4()
    for written in (str(asked).upper(), asked.hex, f"{{{asked}}}"):
        http_server.queue(Answer(200, {"execution_id": written, "status": "completed"}))
        assert client.get_execution_status(asked).execution_id == written


def test_an_execution_may_be_given_as_a_handle(client, http_server):
    handle = client.execution(E1)
    assert client.get_execution_status(handle).status == "completed"
    assert client.await_execution_result(handle).status == "completed"
    assert client.execution_future(handle).result(30).status == "completed"
    assert client.execution(handle).execution_id == E1
    client.cancel_execution(handle)
    assert {request.path.partition("/executions/")[2] for request in http_server.received} == {E1, f"{E1}/cancel"}


def test_events_may_be_followed_by_handle(make_client, nats_server, bus, execution_id):
    event = {"execution_id": execution_id, "sequence": 1, "event_type": "done", "event_data": 1}
    bus.publish(f"exec.events.{execution_id}", json.dumps({**event, "timestamp": "2026-01-05T09:30:00Z"}).encode())
    client = make_client(nats_url=nats_server.url)
    handle = client.execution(execution_id)
    assert [each.sequence for each in client.execution_events(handle)] == [1]
    assert [each.sequence for each in handle.events()] == [1]


def test_a_handle_of_another_workspace_is_refused(client, make_client, http_server):
    theirs = make_client(workspace_id="ws-2").execution(E1)
    for ask in (client.get_execution_status, client.cancel_execution, client.execution, client.await_execution_result):
        with pytest.raises(InvalidRequestError, match="organisation and workspace"):
            ask(theirs)
    assert http_server.received == []


RINGED = {name: call for name, call in KEYED.items() if name not in {"execute_agent", "execute_transform"}}


def without_ring(name):
    method, _, mode = name.partition(" ")
    arguments = {"execution_mode": mode} if mode else {}
    context = {"context": None} if method in {"execute_code_block", "execute_agent"} else {}
    return lambda client, **options: getattr(client, method)("c-1", {}, **context, **arguments, **options)


@pytest.mark.parametrize("name", RINGED)
def test_the_clients_ring_is_every_submissions_unless_the_call_names_one(make_client, http_server, name, monkeypatch):
    monkeypatch.setenv("RING_ID", " r-of-the-environment ")
    http_server.handle = lambda request: (
        ACCEPTED if request.method == "POST" else Answer(200, {"execution_id": E1, "status": "completed"})
    )
    call = without_ring(name)
    call(make_client())
    call(make_client(ring_id="r-of-the-client").with_options(timeout=5))
    call(make_client(ring_id="r-of-the-client"), ring_id="r-of-the-call")
    rings = [request.json["ring_id"] for request in http_server.received if request.method == "POST"]
    assert rings == ["r-of-the-environment", "r-of-the-client", "r-of-the-call"]


@pytest.mark.parametrize("name", RINGED)
def test_without_any_ring_the_error_says_the_three_ways(client, http_server, name):
    with pytest.raises(ConfigurationError, match="ring_id=… to the call or to the client, or set RING_ID"):
        without_ring(name)(client)
    assert http_server.received == []


def test_map_uses_the_clients_ring(make_client, http_server):
    http_server.handle = lambda request: (
        ACCEPTED if request.method == "POST" else Answer(200, {"execution_id": E1, "status": "completed"})
    )
    client = make_client(ring_id="r-1")
    records = client.map(lambda item: client.submit_workflow_execution("w-1", item), [{"n": 1}])
    assert [record.status for record in records] == ["completed"]
    assert http_server.received[0].json["ring_id"] == "r-1"
