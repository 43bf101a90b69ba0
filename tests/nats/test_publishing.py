"""What a bridge publishes, read back by others."""

import threading
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from flow_client import (
    BridgeError,
    BridgeTimeoutError,
    ClientClosedError,
    InvalidRequestError,
    NatsBridge,
    PayloadTooLargeError,
    UndeliveredError,
)
from flow_client._nats.loop import THREAD_NAME


@pytest.fixture
def execution_id():
    return uuid.uuid4()


def _without_timestamp(payload):
    assert datetime.fromisoformat(payload.pop("timestamp")).utcoffset() == timedelta(0)
    return payload


def test_an_output_has_exactly_the_keys_of_the_contract(bridge, bus, execution_id):
    deployment_id = uuid.uuid4()
    bridge.push_execution_output(
        deployment_id, execution_id, {"n": Decimal("1.5")}, {"tokens": 1}, [{"role": "user"}], {"s": 1}, "oops"
    )
    (payload,) = bus.outputs(execution_id)
    assert _without_timestamp(payload) == {
        "execution_id": str(execution_id),
        "deployment_id": str(deployment_id),
        "output": {"n": "1.5"},
        "usage": {"tokens": 1},
        "messages": [{"role": "user"}],
        "state": {"s": 1},
        "error": "oops",
    }


def test_what_an_output_does_not_have_is_null(bridge, bus, execution_id):
    bridge.push_execution_output(None, execution_id, None)
    (payload,) = bus.outputs(execution_id)
    assert _without_timestamp(payload) == {
        "execution_id": str(execution_id),
        **dict.fromkeys(["deployment_id", "output", "usage", "messages", "state", "error"]),
    }


def test_events_are_numbered_from_one(bridge, bus, execution_id):
    bridge.push_execution_event("d", execution_id, "chunk", {"text": "a"})
    bridge.push_execution_event(None, str(execution_id), "done", None)
    bridge.flush()
    first, second = bus.events(execution_id)
    assert _without_timestamp(first) == {
        "execution_id": str(execution_id),
        "sequence": 1,
        "event_type": "chunk",
        "event_data": {"text": "a"},
    }
    assert (second["sequence"], second["event_type"], second["event_data"]) == (2, "done", None)


def test_a_status_has_exactly_the_keys_of_the_contract(bridge, bus, execution_id):
    bridge.publish_execution_status(execution_id, "completed")
    (message,) = bus.stored(f"exec.status.{execution_id}")
    assert _without_timestamp(message.json) == {"execution_id": str(execution_id), "status": "completed"}


def test_every_message_has_an_id_of_its_own(bridge, bus, execution_id):
    for _ in range(3):
        bridge.push_execution_event(None, execution_id, "chunk", "the same")
        bridge.push_execution_output(None, execution_id, "the same")
    stored = bus.stored(f"exec.events.{execution_id}") + bus.stored(f"exec.output.{execution_id}")
    assert len({message.headers["Nats-Msg-Id"] for message in stored}) == 6


def test_threads_share_a_bridge_and_numbers_have_no_gap(bridge, bus, execution_id):
    def push():
        for number in range(20):
            bridge.push_execution_event(None, execution_id, "chunk", number)

    threads = [threading.Thread(target=push) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bridge.flush()
    assert [event["sequence"] for event in bus.events(execution_id)] == list(range(1, 101))


def test_a_new_bridge_goes_on_from_the_last_stored_number(nats_server, bridge, bus, execution_id):
    bridge.push_execution_event(None, execution_id, "chunk", "first")
    bridge.flush()
    with NatsBridge(nats_server.url) as successor:
        successor.push_execution_event(None, execution_id, "chunk", "second")
        successor.flush()
        bridge.push_execution_event(None, execution_id, "chunk", "third")
        bridge.flush()
        successor.push_execution_event(None, execution_id, "chunk", "fourth")
    events = bus.events(execution_id)
    assert [(event["sequence"], event["event_data"]) for event in events] == [
        (1, "first"),
        (2, "second"),
        (3, "third"),
        (4, "fourth"),
    ]


def test_an_event_that_cannot_be_sent_uses_up_no_number(bridge, bus, execution_id):
    bridge.push_execution_event(None, execution_id, "chunk", 1)
    bridge.flush()
    with pytest.raises(PayloadTooLargeError):
        bridge.push_execution_event(None, execution_id, "chunk", "x" * 2**20)
    with pytest.raises(InvalidRequestError):
        bridge.push_execution_event(None, execution_id, "chunk", float("nan"))
    bridge.push_execution_event(None, execution_id, "chunk", 2)
    bridge.flush()
    assert [event["sequence"] for event in bus.events(execution_id)] == [1, 2]


def test_a_foreign_message_among_the_events_is_an_error(bridge, bus, execution_id):
    bus.publish(f"exec.events.{execution_id}", b"not an event")
    bridge.push_execution_event(None, execution_id, "chunk", 1)
    with pytest.raises(UndeliveredError, match="no sequence number") as caught:
        bridge.flush()
    assert caught.value.undelivered == 1


@pytest.mark.parametrize("size", [2**20 - 512, 2**20])
def test_a_message_over_the_servers_limit_is_refused_and_the_connection_lives(bridge, bus, execution_id, size):
    with pytest.raises(PayloadTooLargeError, match=str(2**20 - 512)):
        bridge.push_execution_output(None, execution_id, "x" * size)
    bridge.push_execution_output(None, execution_id, "x" * (2**20 - 1000))
    assert len(bus.outputs(execution_id)) == 1


@pytest.mark.parametrize("bad", ["*", ">", "a.b", " ", "a/b", "..", "", None])
def test_a_bad_id_reaches_no_subject(bridge, bad):
    with pytest.raises(InvalidRequestError):
        bridge.fetch_execution_input(None, bad)
    with pytest.raises(InvalidRequestError):
        bridge.push_execution_output(None, bad, 1)
    with pytest.raises(InvalidRequestError):
        bridge.push_execution_event(None, bad, "chunk", 1)
    with pytest.raises(InvalidRequestError):
        bridge.publish_execution_status(bad, "running")
    assert not bridge._runtime.thread.running


def test_a_missing_stream_is_an_error_at_once(bridge, bus, execution_id):
    bus.do(lambda js: js.delete_stream("EXEC_STATUS"))
    try:
        with pytest.raises(BridgeError, match=f"no JetStream stream takes exec.status.{execution_id}") as caught:
            bridge.publish_execution_status(execution_id, "running")
        assert not isinstance(caught.value, BridgeTimeoutError)
    finally:
        bus.do(lambda js: js.add_stream(name="EXEC_STATUS", subjects=["exec.status.*"]))


def test_a_closed_bridge_says_so(nats_server, execution_id):
    with NatsBridge(nats_server.url) as bridge:
        bridge.publish_execution_status(execution_id, "running")
        bridge.close()
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
    with pytest.raises(ClientClosedError):
        bridge.publish_execution_status(execution_id, "running")


def test_credentials_are_shown_nowhere(nats_server, bridge, execution_id, caplog):
    caplog.set_level("DEBUG")
    bridge.publish_execution_status(execution_id, "running")
    token = nats_server.url.partition("//")[2].partition("@")[0]
    assert token not in caplog.text + repr(bridge) + repr(vars(bridge))
