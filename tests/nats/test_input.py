"""Taking an execution's input exactly once."""

import asyncio
import logging
import threading
import time

import pytest
from support.relay import Relay

from flow_client import BridgeError, BridgeTimeoutError, MalformedInputError, NatsBridge, UndeliveredError
from flow_client._core.deadline import Deadline
from flow_client._nats.consumer import Consumer


def test_the_input_is_taken_once_and_reported_running(bridge, bus, execution_id):
    bus.put_input(execution_id, b'{"input_data": {"a": 1}, "session_id": "s", "messages": [1], "state": {"b": 2}}')
    content = bridge.fetch_execution_input(None, execution_id)
    assert (content.input_data, content.session_id, content.messages, content.state) == ({"a": 1}, "s", [1], {"b": 2})
    assert not bus.input_waits(execution_id)
    assert bus.statuses(execution_id) == ["running"]
    assert not [info for info in bus.consumers() if execution_id in info.name]
    with pytest.raises(BridgeTimeoutError, match=execution_id) as caught:
        bridge.fetch_execution_input(None, execution_id, timeout=0.2)
    assert caught.value.execution_id == execution_id


def test_what_was_not_sent_has_the_defaults_and_what_is_unknown_is_kept(bridge, bus, execution_id):
    bus.put_input(execution_id, b'{"later": 1}')
    content = bridge.fetch_execution_input(None, execution_id)
    assert content.model_dump() == {"input_data": {}, "session_id": None, "messages": [], "state": {}, "later": 1}


def test_an_input_that_comes_later_is_waited_for(bridge, bus, execution_id):
    timer = threading.Timer(0.3, bus.put_input, (execution_id,))
    timer.start()
    assert bridge.fetch_execution_input(None, execution_id, timeout=20).input_data == {}
    timer.join()


def test_the_wait_for_an_input_ends_in_time(bridge, execution_id):
    started = time.monotonic()
    with pytest.raises(BridgeTimeoutError):
        bridge.fetch_execution_input(None, execution_id, timeout=0.5)
    assert 0.4 < time.monotonic() - started < 10


@pytest.mark.parametrize("raw", [b"", b"no json", b"[]", b'{"messages": {}}', b"\xff"])
def test_a_malformed_input_is_gone_and_never_reported_running(bridge, bus, execution_id, raw):
    bus.put_input(execution_id, raw)
    with pytest.raises(MalformedInputError) as caught:
        bridge.fetch_execution_input(None, execution_id)
    assert (caught.value.raw, caught.value.execution_id) == (raw, execution_id)
    assert not bus.input_waits(execution_id)
    assert bus.statuses(execution_id) == []


def test_other_executions_keep_their_inputs(bridge, bus, execution_id):
    bus.put_input(execution_id + "-2", b'{"input_data": 2}')
    bus.put_input(execution_id, b'{"input_data": 1}')
    assert bridge.fetch_execution_input(None, execution_id).input_data == 1
    assert bus.input_waits(execution_id + "-2")


def test_on_done_keeps_the_input_until_the_output_is_stored(bridge, bus, execution_id):
    bus.put_input(execution_id)
    bridge.fetch_execution_input(None, execution_id, ack="on_done")
    assert bus.statuses(execution_id) == ["running"]
    assert bus.input_waits(execution_id)
    bridge.push_execution_output(None, execution_id, 1)
    assert not bus.input_waits(execution_id)
    assert not [info for info in bus.consumers() if execution_id in info.name]


def test_closing_leaves_an_unfinished_input_to_the_successor(nats_server, bridge, bus, execution_id):
    bus.put_input(execution_id)
    with NatsBridge(nats_server.url) as predecessor:
        predecessor.fetch_execution_input(None, execution_id, ack="on_done")
    started = time.monotonic()
    bridge.fetch_execution_input(None, execution_id)
    assert time.monotonic() - started < 10
    assert not bus.input_waits(execution_id)


def test_a_successor_fences_off_its_predecessor(nats_server, bridge, bus, execution_id):
    bus.put_input(execution_id)
    with NatsBridge(nats_server.url) as predecessor:
        predecessor.fetch_execution_input(None, execution_id, ack="on_done")
        bridge.fetch_execution_input(None, execution_id, ack="on_done")
        with pytest.raises(BridgeError, match="taken over"):
            predecessor.push_execution_output(None, execution_id, "stale")
    assert bus.input_waits(execution_id)
    bridge.push_execution_output(None, execution_id, "fresh")
    assert [payload["output"] for payload in bus.outputs(execution_id)] == ["fresh"]
    assert not bus.input_waits(execution_id)


def test_a_waiting_worker_gives_way_to_its_successor(nats_server, bridge, bus, execution_id):
    errors = []

    def wait():
        with NatsBridge(nats_server.url) as waiting, pytest.raises(BridgeError) as caught:
            waiting.fetch_execution_input(None, execution_id, timeout=20)
        errors.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    while not bus.consumers():
        time.sleep(0.02)
    bus_timer = threading.Timer(0.3, bus.put_input, (execution_id,))
    bus_timer.start()
    assert bridge.fetch_execution_input(None, execution_id, timeout=30).input_data == {}
    thread.join(60)
    bus_timer.join()
    assert "taken over" in str(errors[0])


def test_a_missing_work_queue_is_an_error_at_once(bridge, bus, execution_id):
    config = bus.do(lambda js: js.stream_info("EXEC_INPUT")).config
    bus.do(lambda js: js.delete_stream("EXEC_INPUT"))
    try:
        with pytest.raises(BridgeError, match="stream not found") as caught:
            bridge.fetch_execution_input(None, execution_id, timeout=20)
        assert not isinstance(caught.value, BridgeTimeoutError)
    finally:
        bus.do(lambda js: js.add_stream(config))


@pytest.fixture
def failed(bridge, bus, execution_id):
    """An event that can never be stored, and that nobody was told of yet."""
    bus.publish(f"exec.events.{execution_id}-2", b"no event")
    bridge.push_execution_event(None, f"{execution_id}-2", "chunk", 1)


@pytest.mark.usefixtures("failed")
def test_an_input_is_taken_though_earlier_messages_were_lost(bridge, bus, execution_id, caplog):
    bus.put_input(execution_id, b'{"input_data": 1}')
    with caplog.at_level(logging.WARNING):
        assert bridge.fetch_execution_input(None, execution_id).input_data == 1
    assert caplog.messages == []
    assert bus.statuses(execution_id) == ["running"]
    with pytest.raises(UndeliveredError) as caught:
        bridge.flush()
    assert caught.value.undelivered == 1


@pytest.mark.usefixtures("failed")
def test_an_input_is_held_though_earlier_messages_were_lost(bridge, bus, execution_id):
    bus.put_input(execution_id)
    bridge.fetch_execution_input(None, execution_id, ack="on_done")
    assert bus.input_waits(execution_id)
    with pytest.raises(UndeliveredError) as caught:
        bridge.push_execution_output(None, execution_id, 1)
    assert caught.value.undelivered == 1
    assert not bus.input_waits(execution_id)
    bridge.flush()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_an_outage_at_any_moment_is_an_error_of_ours(nats_server, execution_id, fault):
    with Relay(nats_server.port) as relay:
        url = nats_server.url.replace(str(nats_server.port), str(relay.port))
        for moment in range(10):
            with NatsBridge(url, connect_timeout=0.5, close_timeout=0.2) as bridge:
                timer = threading.Timer(0.004 * moment, getattr(relay, fault))
                timer.start()
                with pytest.raises(BridgeError):
                    bridge.fetch_execution_input(None, f"{execution_id}-{moment}", timeout=0.2)
                timer.join()
                relay.thaw()


def test_a_connection_that_is_lost_before_the_fetch_is_an_error_of_ours(nats_server, execution_id):
    with Relay(nats_server.port) as relay:
        url = nats_server.url.replace(str(nats_server.port), str(relay.port))
        with NatsBridge(url, connect_timeout=0.5, close_timeout=0.2) as bridge:
            connection = bridge._runtime.connection
            consumer = Consumer(connection, "EXEC_INPUT", f"exec.input.{execution_id}")

            async def lose_it_before_the_fetch():
                await connection.attempt(consumer._attach, "attaching", Deadline(5))
                relay.freeze()
                relay.cut()
                while connection.online:  # noqa: ASYNC110 - nothing else tells of it
                    await asyncio.sleep(0.01)
                await consumer._fetch_until(Deadline(0.3), connection.generation)

            with pytest.raises(BridgeTimeoutError):
                bridge._runtime.thread.run(lose_it_before_the_fetch, timeout=60)


def test_an_input_is_waited_for_though_the_server_ends_the_connection(bridge, bus, execution_id):
    """As it does when credentials expire: nats-py then closes for good, and cancels what is under way."""
    inputs = []
    thread = threading.Thread(target=lambda: inputs.append(bridge.fetch_execution_input(None, execution_id)))
    thread.start()
    while not [info for info in bus.consumers() if execution_id in info.name]:
        time.sleep(0.02)
    bridge._runtime.thread.run(bridge._runtime.connection._client.close, timeout=30)
    bus.put_input(execution_id, b'{"input_data": 1}')
    thread.join(60)
    assert [content.input_data for content in inputs] == [1]
