"""Servers that are down, refuse, hang or come back."""

import logging
import os
import signal
import socket
import threading
import time

import pytest
from support.bus import Bus
from support.freezing import frozen
from support.jetstream import create_streams

from flow_client import BridgeError, BridgeTimeoutError, NatsBridge, UndeliveredError
from flow_client._nats.loop import THREAD_NAME
from flow_client.local.nats_server import NatsServer


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, to be killed."""
    with NatsServer(tmp_path) as server:
        create_streams(server.url)
        yield server


@pytest.fixture
def bridge(server):
    with NatsBridge(server.url, publish_timeout=20) as bridge:
        yield bridge


def test_a_server_that_cannot_be_reached_costs_the_connect_timeout(execution_id):
    with NatsBridge("nats://user:secret@127.0.0.1:1", connect_timeout=0.5) as bridge:
        started = time.monotonic()
        with pytest.raises(BridgeTimeoutError, match=r"127\.0\.0\.1:1.*0\.5 s.*[Cc]onnect") as caught:
            bridge.publish_execution_status(execution_id, "running")
        assert time.monotonic() - started < 20
    assert "secret" not in str(caught.value)
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_a_server_that_says_nothing_costs_the_connect_timeout(execution_id):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        with NatsBridge(url, connect_timeout=0.5) as bridge:
            started = time.monotonic()
            with pytest.raises(BridgeTimeoutError):
                bridge.fetch_execution_input(None, execution_id)
            assert time.monotonic() - started < 20


def test_refused_credentials_are_an_error_at_once(server, execution_id):
    with NatsBridge(f"nats://wrong-token@127.0.0.1:{server.port}", connect_timeout=20) as bridge:
        started = time.monotonic()
        with pytest.raises(BridgeError, match="refused") as caught:
            bridge.publish_execution_status(execution_id, "running")
        assert time.monotonic() - started < 10
    assert not isinstance(caught.value, BridgeTimeoutError)
    assert "wrong-token" not in str(caught.value)


def test_a_bridge_that_failed_to_connect_can_be_used_again(tmp_path, execution_id):
    with NatsServer(tmp_path) as server:
        create_streams(server.url)
        server.kill()
        with NatsBridge(server.url, connect_timeout=2) as bridge:
            with pytest.raises(BridgeTimeoutError):
                bridge.publish_execution_status(execution_id, "running")
            server.start()
            bridge.publish_execution_status(execution_id, "running")
        assert Bus(server.url).statuses(execution_id) == ["running"]


def test_what_is_published_over_a_restart_is_stored_once_and_in_order(server, bridge, execution_id, caplog):
    caplog.set_level(logging.WARNING, logger="flow_client")
    for number in range(1, 4):
        bridge.push_execution_event(None, execution_id, "chunk", number)
        bridge.flush()
        server.kill()
        starter = threading.Timer(0.3, server.start)
        starter.start()
        bridge.push_execution_event(None, execution_id, "chunk", -number)
        bridge.flush()
        starter.join()
    bridge.push_execution_output(None, execution_id, "done")
    bus = Bus(server.url)
    events = [(event["sequence"], event["event_data"]) for event in bus.events(execution_id)]
    assert events == [(1, 1), (2, -1), (3, 2), (4, -2), (5, 3), (6, -3)]
    assert len(bus.outputs(execution_id)) == 1
    assert ["lost the connection" in record.message for record in caplog.records] == [True] * 3


def test_a_server_that_hangs_for_a_while_loses_and_repeats_nothing(server, bridge, execution_id):
    bridge.push_execution_event(None, execution_id, "chunk", 1)
    bridge.flush()
    with frozen(server.pid):
        waker = threading.Timer(2.5, os.kill, (server.pid, signal.SIGCONT))
        waker.start()
        bridge.push_execution_event(None, execution_id, "chunk", 2)
        bridge.push_execution_output(None, execution_id, "done")
        waker.join()
    bus = Bus(server.url)
    assert [event["sequence"] for event in bus.events(execution_id)] == [1, 2]
    assert len(bus.outputs(execution_id)) == 1


def test_a_message_that_is_given_up_leaves_no_gap(server, execution_id):
    with NatsBridge(server.url, close_timeout=0.5) as bridge:
        bridge.push_execution_event(None, execution_id, "chunk", 1)
        bridge.flush()
        server.kill()
        bridge.push_execution_event(None, execution_id, "chunk", "given up")
        with pytest.raises(UndeliveredError) as caught:
            bridge.close()
    assert caught.value.undelivered == 1
    server.start()
    with NatsBridge(server.url) as bridge:
        bridge.push_execution_event(None, execution_id, "chunk", 2)
    assert [event["sequence"] for event in Bus(server.url).events(execution_id)] == [1, 2]


def test_a_status_that_is_given_up_is_not_stored_later(server, execution_id):
    with NatsBridge(server.url, publish_timeout=0.5) as bridge:
        bridge.publish_execution_status(execution_id, "running")
        server.kill()
        bridge.push_execution_event(None, execution_id, "chunk", 1)
        with pytest.raises(BridgeTimeoutError, match=r"exec\.status.*was not sent"):
            bridge.publish_execution_status(execution_id, "given up")
        server.start()
    assert Bus(server.url).statuses(execution_id) == ["running"]
    assert len(Bus(server.url).events(execution_id)) == 1


def test_events_wait_for_as_long_as_an_outage_lasts(server, execution_id):
    with NatsBridge(server.url, publish_timeout=0.2, connect_timeout=0.2) as bridge:
        bridge.push_execution_event(None, execution_id, "chunk", 1)
        bridge.flush(60)
        server.kill()
        bridge.push_execution_event(None, execution_id, "chunk", 2)
        with pytest.raises(UndeliveredError, match=r"not stored after 0\.2 s; .* still being sent") as caught:
            bridge.flush()
        assert caught.value.undelivered == 1
        server.start()
        bridge.push_execution_event(None, execution_id, "chunk", 3)
        bridge.flush(60)
        assert bridge.stats().longest_pause > 0
        assert (bridge.stats().stored, bridge.stats().unacked) == (3, 0)
    assert [event["sequence"] for event in Bus(server.url).events(execution_id)] == [1, 2, 3]


def test_an_input_is_taken_over_a_restart(server, bridge, execution_id):
    bridge.publish_execution_status(execution_id, "queued")

    def restart():
        server.kill()
        server.start()
        Bus(server.url).put_input(execution_id)

    timer = threading.Timer(0.3, restart)
    timer.start()
    started = time.monotonic()
    assert bridge.fetch_execution_input(None, execution_id, timeout=30).input_data == {}
    assert time.monotonic() - started < 25
    timer.join()


def test_an_input_is_confirmed_over_a_restart(server, bridge, execution_id):
    bus = Bus(server.url)
    bus.put_input(execution_id)
    bridge.fetch_execution_input(None, execution_id, ack="on_done")
    server.kill()
    server.start()
    bridge.push_execution_output(None, execution_id, 1)
    assert not bus.input_waits(execution_id)
    assert len(bus.outputs(execution_id)) == 1


def test_close_is_bounded_on_a_server_that_hangs(server, execution_id):
    with NatsBridge(server.url, close_timeout=1) as bridge:
        bridge.publish_execution_status(execution_id, "running")
        with frozen(server.pid):
            started = time.monotonic()
            bridge.close()
            assert time.monotonic() - started < 10
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_ctrl_c_lands_while_the_server_is_away(server, bridge, execution_id):
    bridge.publish_execution_status(execution_id, "running")
    server.kill()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bridge.push_execution_output(None, execution_id, 1)
    assert time.monotonic() - started < 10
    timer.join()
    server.start()
