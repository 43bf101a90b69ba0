"""Kills, freezes and refusals in the middle: nothing is lost, repeated or out of order."""

import asyncio
import contextlib
import gc
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import nats
import pytest
from support.bus import Bus
from support.freezing import frozen
from support.jetstream import MODES, create_streams, read_events
from support.relay import HEAD_START, Relay

from flow_client import BridgeError, BridgeStats, NatsBridge, UndeliveredError
from flow_client.local.nats_server import NatsServer

# So that something is always under way.
ONE_WAY_DELAY = 0.005


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def relayed(tmp_path):
    """A server, a relay in front of it, and the URL there."""
    with NatsServer(tmp_path) as server, Relay(server.port, ONE_WAY_DELAY) as relay:
        yield server, relay, server.url.replace(str(server.port), str(relay.port))


def _push_while(url, execution_id, disturb):
    """Push events while `disturb` runs, and return how many."""
    pushed = 0
    with NatsBridge(url, max_unacked=2000) as bridge, ThreadPoolExecutor() as threads:
        disturbing = threads.submit(disturb)
        while not disturbing.done():
            bridge.push_execution_event(None, execution_id, "chunk", pushed)
            pushed += 1
            if pushed % 50 == 0:
                time.sleep(0.002)
        disturbing.result()
        bridge.flush(60)
        assert bridge.stats().sessions > 1
        assert bridge.stats().longest_pause > 0
    return pushed


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
        pushed = _push_while(server.url, execution_id, kill)
        _all_once_and_in_order(pushed, read_events(server.url, execution_id))


def test_a_freeze_in_the_middle(tmp_path, mode, execution_id):
    def freeze():
        time.sleep(0.2)
        with frozen(server.pid):
            time.sleep(3)
        time.sleep(0.2)

    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode)
        pushed = _push_while(server.url, execution_id, freeze)
        _all_once_and_in_order(pushed, read_events(server.url, execution_id))


@pytest.mark.parametrize("fault", ["cut", "strand"])
def test_cut_connections_whose_messages_may_arrive_late(relayed, mode, execution_id, fault, caplog):
    server, relay, url = relayed

    def cut():
        for _ in range(8):
            time.sleep(0.2)
            getattr(relay, fault)()

    create_streams(server.url, mode)
    pushed = _push_while(url, execution_id, cut)
    _all_once_and_in_order(pushed, read_events(server.url, execution_id))
    gc.collect()  # asyncio tells of tasks that were left behind when they are collected
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_a_message_that_arrives_behind_the_look_at_what_is_stored(relayed, mode, execution_id):
    server, relay, url = relayed
    create_streams(server.url, mode)
    with NatsBridge(url) as bridge:
        for first in range(0, 40, 8):
            relay.strand()
            bridge.push_execution_event(None, execution_id, "chunk", first)
            time.sleep(HEAD_START)  # now it is sent again, and held up while the first copy arrives
            for number in range(first + 1, first + 8):
                bridge.push_execution_event(None, execution_id, "chunk", number)
            bridge.flush(60)
        assert bridge.stats().sessions > 5
        assert bridge.stats().resent >= 5
    _all_once_and_in_order(40, read_events(server.url, execution_id))


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


def test_an_outage_that_goes_on_can_be_seen(tmp_path, mode, execution_id, eventually):
    with NatsServer(tmp_path) as server:
        create_streams(server.url, mode)
        with NatsBridge(server.url) as bridge:
            bridge.push_execution_event(None, execution_id, "chunk", 0)
            bridge.flush()
            assert bridge.stats() == BridgeStats(stored=1, unacked=0, resent=0, sessions=1, longest_pause=0)
            server.kill()
            bridge.push_execution_event(None, execution_id, "chunk", 1)
            assert eventually(lambda: bridge.stats().longest_pause)
            assert bridge.stats().unacked == 1
            server.start()
            bridge.flush(60)
            assert (bridge.stats().stored, bridge.stats().unacked) == (2, 0)


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
            bridge.flush(60)
        events = read_events(server.url, execution_id)
        assert sorted(event["event_data"] for event in events) == ["another", "first", "last", "last", "last"]


@contextlib.contextmanager
def _answering(url, subject, answer):
    """Answer whatever is published to a subject, as JetStream does."""
    ready, over = threading.Event(), threading.Event()

    async def listen():
        connection = await nats.connect(url)

        async def respond(message):
            await connection.publish(message.reply, answer)

        await connection.subscribe(subject, cb=respond)
        await connection.flush()
        ready.set()
        await asyncio.to_thread(over.wait)
        await connection.close()

    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(asyncio.run, listen())
        try:
            assert ready.wait(30)
            yield
        finally:
            over.set()
            listening.result()


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b"{}"])
def test_an_answer_that_says_nothing_is_a_doubt(tmp_path, execution_id, answer, caplog):
    with NatsServer(tmp_path) as server:
        create_streams(server.url, "window", no_ack=True)
        with _answering(server.url, "exec.output.*", answer), NatsBridge(server.url) as bridge:
            bridge.push_execution_output(None, execution_id, "done")
            assert bridge.stats().sessions == 2
        assert [output["output"] for output in Bus(server.url).outputs(execution_id)] == ["done"]
    assert "an answer is malformed" in caplog.text


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
                bridge.flush(60)
            assert caught.value.undelivered == 1
            with pytest.raises(BridgeError, match="permissions violation"):
                bridge.publish_execution_status("denied", "running")
            bridge.publish_execution_status("allowed", "running")
        _all_once_and_in_order(0, read_events(server.url, "denied"))
        assert [event["sequence"] for event in read_events(server.url, "allowed")] == [1, 2]
