"""Kills, freezes and refusals in the middle: nothing is lost, repeated or out of order."""

import json
import os
import random
import signal
import threading
import time
import uuid

import pytest
from support.bus import Bus
from support.outbox import MODES, create_streams, read_events

from flow_client import BridgeError, NatsBridge, UndeliveredError
from flow_client.local.nats_server import NatsServer


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def execution_id():
    return str(uuid.uuid4())


def _disturbed(server, execution_id, disturb):
    """Push events while `disturb` runs; return what was pushed and what was stored."""
    over, pushed = threading.Event(), 0
    with NatsBridge(server.url, max_unacked=2000) as bridge:
        disturbing = threading.Thread(target=lambda: [disturb(), over.set()])
        disturbing.start()
        while not over.is_set():
            bridge.push_execution_event(None, execution_id, "chunk", pushed)
            pushed += 1
            if pushed % 50 == 0:
                time.sleep(0.002)
        disturbing.join()
        bridge.flush(30)
        assert bridge.stats().sessions > 1
        assert bridge.stats().longest_pause > 0
    return pushed, read_events(server.url, execution_id)


def _all_once_and_in_order(pushed, events):
    assert [(event["sequence"], event["event_data"]) for event in events] == [(n + 1, n) for n in range(pushed)]


# Without the server's own memory of ids, an outage that is longer than it is in every kill.
@pytest.mark.parametrize("duplicate_window", [120.0, 0.1])
def test_kills_in_the_middle(tmp_path, mode, execution_id, duplicate_window):
    pauses = random.Random(1)

    def kill():
        for _ in range(6):
            time.sleep(pauses.uniform(0.05, 0.4))
            server.kill()
            time.sleep(pauses.uniform(0, 0.2))
            server.start()

    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode, duplicate_window=duplicate_window)
        _all_once_and_in_order(*_disturbed(server, execution_id, kill))


def test_a_freeze_in_the_middle(tmp_path, mode, execution_id):
    def freeze():
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(server.pid, signal.SIGCONT)
        time.sleep(0.2)

    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode)
        _all_once_and_in_order(*_disturbed(server, execution_id, freeze))


def test_a_server_that_comes_up_late_gets_everything(tmp_path, mode, execution_id):
    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode)
        server.kill()
        with NatsBridge(server.url, connect_timeout=0.3) as bridge:
            for number in range(100):
                bridge.push_execution_event(None, execution_id, "chunk", number)
            time.sleep(0.5)
            server.start()
        _all_once_and_in_order(100, read_events(server.url, execution_id))


def test_another_writer_during_an_outage_is_followed(tmp_path, mode, execution_id):
    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode)
        with NatsBridge(server.url) as bridge:
            bridge.push_execution_event(None, execution_id, "chunk", "first")
            bridge.flush()
            server.kill()
            for _ in range(3):
                bridge.push_execution_event(None, execution_id, "chunk", "last")
            server.start()
            foreign = {"sequence": 2, "event_type": "chunk", "event_data": "another"}
            Bus(server.url).publish(f"exec.events.{execution_id}", json.dumps(foreign).encode())
            bridge.flush(20)
        events = read_events(server.url, execution_id)
        assert sorted(event["event_data"] for event in events) == ["another", "first", "last", "last", "last"]


class _RestrictedServer(NatsServer):
    """A server where one subject must not be published to."""

    def _write_config(self):
        path = super()._write_config()
        config = json.loads(path.read_text())
        rules = {"publish": {"deny": ["exec.events.denied", "exec.status.denied"]}}
        config["authorization"] = {"users": [{"user": "u", "password": self._token, "permissions": rules}]}
        path.write_text(json.dumps(config))
        return path

    @property
    def url(self):
        return super().url.replace("nats://", "nats://u:")


def test_what_the_client_may_not_publish_is_given_up(tmp_path, mode):
    with _RestrictedServer(tmp_path) as server:
        create_streams(server.url, mode)
        with NatsBridge(server.url) as bridge:
            bridge.push_execution_event(None, "allowed", "chunk", 1)
            bridge.push_execution_event(None, "denied", "chunk", 1)
            bridge.push_execution_event(None, "allowed", "chunk", 2)
            with pytest.raises(UndeliveredError, match=r"permissions violation") as caught:
                bridge.flush(20)
            assert caught.value.undelivered == 1
            with pytest.raises(BridgeError, match="permissions violation"):
                bridge.publish_execution_status("denied", "running")
            bridge.publish_execution_status("allowed", "running")
        _all_once_and_in_order(0, read_events(server.url, "denied"))
        assert [event["sequence"] for event in read_events(server.url, "allowed")] == [1, 2]
