"""The client against the local platform: real workers, a real nats-server, every method."""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.bus import Bus

import flow_client
from flow_client import NatsBridge


@pytest.fixture
def client(platform):
    with platform.client() as client:
        yield client


@pytest.fixture
def ring(platform):
    return platform.ring_id


def test_a_code_block_is_executed(client, ring):
    record = client.execute_code_block("count-words", {"text": "to be or not to be"}, None, ring_id=ring)
    assert record.status == "completed"
    assert record.created_at <= record.started_at <= record.finished_at
    assert record.is_completed


def test_events_are_shown_while_a_code_block_is_executed(client, ring):
    seen = []
    record = client.execute_code_block("chatter", {"events": 300}, None, ring_id=ring, on_event=seen.append)
    assert record.output == "said"
    assert [(event.sequence, event.event_data) for event in seen] == [(n + 1, n) for n in range(300)]


def _nested(levels, value="\ud83d"):
    for _ in range(levels):
        value = [value]
    return value


def test_what_a_python_worker_writes_is_read(platform, client, ring):
    handle = client.submit_workflow_execution("sleep", {"seconds": 60}, ring_id=ring)
    bus, common = Bus(platform.nats_url), {"execution_id": handle.execution_id, "timestamp": "2026-01-05T00:00:00Z"}
    event = {**common, "sequence": 1, "event_type": "done", "event_data": _nested(400)}
    bus.publish(f"exec.events.{handle.execution_id}", json.dumps(event).encode())
    output = {**common, **dict.fromkeys(("deployment_id", "messages", "state", "error"))}
    output.update(output=_nested(400), usage={"rate": math.nan})
    bus.publish(f"exec.output.{handle.execution_id}", json.dumps(output).encode())
    record = handle.wait(30)
    assert (record.status, record.output) == ("completed", _nested(400))
    assert math.isnan(record.usage["rate"])
    assert [event.event_data for event in handle.events()] == [_nested(400)]


def test_an_input_of_many_levels_arrives(client, ring):
    name = _nested(300, "Ada")
    record = client.execute_agent("answer", {"name": name}, None, execution_mode="isolated", ring_id=ring)
    assert record.output == {"text": f"Hello {name}"}


def test_futures_hear_of_the_end(client, ring, eventually):
    handles = [client.submit_workflow_execution("sleep", {"seconds": 1}, ring_id=ring) for _ in range(3)]
    heard = []
    for handle in handles:
        client._shared.bridge.open().hints.expect(handle.execution_id, heard.append)
    pending = [handle.future() for handle in handles]
    assert [future.result(60).output for future in pending] == ["rested"] * 3
    assert eventually(lambda: {handle.execution_id for handle in handles} <= set(heard))


def test_a_handle_brings_the_output(client, ring):
    handle = client.submit_code_block_execution("count-words", {"text": "a b c"}, ring_id=ring)
    assert handle.accepted.status in ("pending", "queued")
    assert handle.result(timeout=60) == client.execution(handle.execution_id).result(timeout=60)
    assert handle.status().is_terminal


def test_a_component_that_raises_is_a_failed_record_and_an_error_of_the_handle(client, ring):
    record = client.execute_workflow("fail", {}, ring_id=ring)
    assert record.status == "failed"
    assert set(record.error) == {"type", "message", "traceback", "log"}
    handle = client.execution(record.execution_id)
    with pytest.raises(flow_client.PlatformExecutionError) as caught:
        handle.result(timeout=60)
    assert caught.value.record == record


def test_the_same_key_is_the_same_execution_and_another_body_is_refused(client, ring):
    first, second = (
        client.submit_code_block_execution("count-words", {"text": "a"}, ring_id=ring, idempotency_key="key-1")
        for _ in range(2)
    )
    assert first.execution_id == second.execution_id
    with pytest.raises(flow_client.PlatformBadRequestError) as caught:
        client.submit_code_block_execution("count-words", {"text": "b"}, ring_id=ring, idempotency_key="key-1")
    assert caught.value.status_code == 422


def test_an_execution_that_takes_too_long_is_ended_by_the_wait_or_by_the_platform(client, ring):
    """The wait's budget is the platform's limit too: whoever is first ends it."""
    try:
        record = client.execute_workflow("sleep", {"seconds": 60}, ring_id=ring, timeout_seconds=1)
    except flow_client.PlatformExecutionError as error:
        record = client.execution(error.execution_id).wait(timeout=30)
    assert record.status in ("cancelled", "timeout")


def test_a_cancelled_execution_ends_as_cancelled(client, ring):
    handle = client.submit_workflow_execution("sleep", {"seconds": 60}, ring_id=ring)
    handle.cancel()
    assert handle.wait(timeout=30).status == "cancelled"


def test_an_unknown_component_is_not_found(client, ring):
    with pytest.raises(flow_client.PlatformNotFoundError):
        client.submit_agent_execution("nobody", {}, ring_id=ring)


def test_an_unknown_execution_is_not_found_after_the_grace(client):
    started = time.monotonic()
    with pytest.raises(flow_client.PlatformNotFoundError):
        client.await_execution_result("6f9619ff-8b86-4d01-b42d-00cf4fc964ff", not_found_retry_seconds=0.3)
    assert time.monotonic() - started >= 0.3


def test_another_organisation_sees_nothing(platform, client, ring):
    handle = client.submit_code_block_execution("count-words", {"text": "a"}, ring_id=ring)
    token = platform.issue_token(org_id="other-org")
    with (
        platform.client(auth_token=token, org_id="other-org") as other,
        pytest.raises(flow_client.PlatformNotFoundError),
    ):
        other.get_execution_status(handle.execution_id)


def test_an_expired_token_is_renewed_by_the_callers_function(platform, ring):
    tokens = iter([platform.issue_token(expires_in=-5), platform.issue_token()])
    with platform.client(auth_token=lambda: next(tokens)) as client:
        assert client.execute_code_block("count-words", {"text": "a b"}, None, ring_id=ring).is_completed


def test_many_threads_share_a_client(client, ring):
    def count(number):
        text = "word " * number
        return client.submit_code_block_execution("count-words", {"text": text}, ring_id=ring).result(timeout=100)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, range(1, 13))) == list(pool.map(count, range(1, 13)))


def test_the_client_passes_the_nats_methods_on(platform, client, ring):
    handle = client.submit_workflow_execution("sleep", {"seconds": 60}, ring_id=ring)
    client.push_execution_event(None, handle.execution_id, "chunk", {"n": 1})
    client.push_execution_event(None, handle.execution_id, "done", None)
    with NatsBridge(platform.nats_url) as bridge:
        events = list(bridge.events(handle.execution_id))
    assert [(event.sequence, event.event_type) for event in events] == [(1, "chunk"), (2, "done")]
    client.publish_execution_status(handle.execution_id, "running")
    client.push_execution_output(None, handle.execution_id, {"answer": 42}, usage={"tokens": 1})
    record = handle.wait(timeout=30)
    assert (record.status, record.output, record.usage) == ("completed", {"answer": 42}, {"tokens": 1})


def test_following_ends_with_the_execution(platform, client, ring):
    handle = client.submit_workflow_execution("fail", {}, ring_id=ring)
    with NatsBridge(platform.nats_url) as bridge:
        assert list(bridge.events(handle.execution_id)) == []
    assert handle.status().status == "failed"


def test_a_handle_follows_its_events(client, ring):
    handle = client.submit_workflow_execution("sleep", {"seconds": 60}, ring_id=ring)
    for event_type in ("chunk", "message", "done"):
        client.push_execution_event(None, handle.execution_id, event_type, None)
    handle.cancel()
    assert [event.event_type for event in handle.events(from_sequence=2)] == ["message", "done"]


def test_following_can_begin_at_any_number(platform, client, ring):
    handle = client.submit_workflow_execution("sleep", {"seconds": 60}, ring_id=ring)
    for number in range(5):
        client.push_execution_event(None, handle.execution_id, "chunk", number)
    client.push_execution_event(None, handle.execution_id, "error", "stop")
    handle.cancel()
    with NatsBridge(platform.nats_url) as bridge:
        assert [event.sequence for event in bridge.events(handle.execution_id, from_sequence=4)] == [4, 5, 6]
        for unusable in (0, -1, "1", True):
            with pytest.raises(flow_client.InvalidRequestError, match="from_sequence"):
                bridge.events(handle.execution_id, from_sequence=unusable)
