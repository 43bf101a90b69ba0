"""What nobody closes: readers of events, and bridges, that are dropped."""

import asyncio
import gc
import json
import logging
import subprocess
import sys
import threading

import psutil
import pytest
from support.http import Answer
from support.size import few

from flow_client import BridgeTimeoutError, NatsBridge, PlatformClient
from flow_client._core.deadline import Deadline
from flow_client._nats.driver import read_error
from flow_client._nats.reader import SubjectReader

READERS = few(220, of=1_100)
BRIDGES = few(6, of=20)
NOW = "2026-01-05T09:30:00+00:00"


def put_event(bus, execution_id, sequence):
    event = {"execution_id": execution_id, "sequence": sequence, "event_type": "chunk", "event_data": sequence}
    bus.publish(f"exec.events.{execution_id}", json.dumps({**event, "timestamp": NOW}).encode())


def in_this_thread(_bridge):
    gc.collect()


def in_another_thread(_bridge):
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()


def in_the_loops_thread(bridge):
    collected = threading.Event()
    bridge._runtime.thread.post(lambda: (gc.collect(), collected.set()))
    assert collected.wait(10)


def inside_a_push(bridge):
    """Have the collector run at once whenever anything is allocated."""
    gc.enable()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        bridge.push_execution_event(None, "other", "chunk", 1)
    finally:
        gc.set_threshold(*threshold)
        gc.disable()


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def consumers(bus):
    return bus.do(lambda js: js.stream_info("EXEC_EVENTS")).state.consumer_count


def wait_for_those_who_leave(bridge, eventually):
    """Wait for what finalisers have handed to the loop. The server itself removes a consumer, but only after 5 s."""
    bridge._runtime.thread.run(asyncio.sleep, 0, timeout=30)
    assert eventually(lambda: not bridge._runtime.connection._background)


@pytest.mark.soak
@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("collect", [None, in_this_thread, in_another_thread, in_the_loops_thread, inside_a_push])
def test_readers_that_are_dropped_leave_no_consumer(bridge, bus, execution_id, collect, eventually, capfd):
    put_event(bus, execution_id, 1)
    before = consumers(bus)
    for number in range(READERS):
        events = bridge.events(execution_id)
        assert next(events).sequence == 1
        if collect is not None:
            events.itself = events  # a cycle, which only the collector finds
            del events
            if number % 110 == 109:
                collect(bridge)
    events = None
    in_this_thread(bridge)
    wait_for_those_who_leave(bridge, eventually)
    assert consumers(bus) <= before
    assert not bridge._runtime.connection.closers
    assert capfd.readouterr().err == ""


def test_a_reader_that_fails_leaves_no_consumer(bridge, bus, execution_id, eventually):
    put_event(bus, execution_id, 1)
    put_event(bus, execution_id, 3)
    before = consumers(bus)
    for _ in range(20):
        events = bridge.events(execution_id)
        with pytest.raises(Exception, match="event 2 is not stored"):
            list(events)
    wait_for_those_who_leave(bridge, eventually)
    assert consumers(bus) <= before


def test_a_read_that_is_cancelled_leaves_no_consumer(bridge, bus, execution_id):
    before = consumers(bus)
    list_of_events = [bridge.events(execution_id) for _ in range(20)]
    for number, events in enumerate(list_of_events):
        # Now while the consumer is made, now while nothing comes.
        with pytest.raises(BridgeTimeoutError):
            bridge._runtime.thread.run(events._reader.read, timeout=0.001 * number)
        events.close()
    assert consumers(bus) <= before


def test_a_reader_that_is_closed_amid_a_read_leaves_nothing(bridge, bus, execution_id):
    """At every step of the read, and also where nats-py goes on although it was cancelled."""
    connection = bridge._runtime.connection

    async def read_and_close(steps):
        reader = SubjectReader(connection, f"exec.events.{execution_id}")
        reading = asyncio.ensure_future(reader.read(0.01))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await reader.close()
        await asyncio.wait({reading})
        read_error(reading)

    async def read_and_close_often():
        await (await connection.jetstream(Deadline(30))).account_info()  # nats-py subscribes to its answers once
        before = set(connection._client._subs)
        for steps in range(0, 300, 3):
            await read_and_close(steps)
        return set(connection._client._subs) - before

    before = consumers(bus)
    assert bridge._runtime.thread.run(read_and_close_often, timeout=100) == set()
    assert consumers(bus) <= before
    assert not connection.closers


def test_a_bridge_that_is_closed_leaves_no_consumer(nats_server, bus, execution_id):
    put_event(bus, execution_id, 1)
    before = consumers(bus)
    with NatsBridge(nats_server.url) as bridge:
        readers = [bridge.events(execution_id) for _ in range(20)]
        assert [next(events).sequence for events in readers] == [1] * 20
        assert consumers(bus) == before + 20
    assert consumers(bus) == before


@pytest.fixture
def unclosed():
    """The warnings about bridges that nobody closed."""
    with pytest.warns(ResourceWarning, match=r"unclosed <NatsBridge .*with.*close\(\)") as warnings:
        yield warnings


def threads():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("flow-client"))


@pytest.mark.soak
@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("collect", [in_this_thread, in_another_thread, in_the_loops_thread])
def test_a_bridge_that_is_dropped_leaves_no_thread_and_no_file(
    nats_server, bridge, bus, execution_id, collect, eventually, unclosed
):
    put_event(bus, execution_id, 1)
    bridge.publish_execution_status(execution_id, "running")
    process = psutil.Process()
    files, running = process.num_fds(), threads()
    for _ in range(BRIDGES):
        dropped = NatsBridge(nats_server.url)
        dropped.publish_execution_status(execution_id, "running")
        assert next(dropped.events(execution_id)).sequence == 1
        del dropped
        collect(bridge)
    assert len(unclosed) == BRIDGES
    assert eventually(lambda: threads() == running)
    assert eventually(lambda: process.num_fds() <= files)


def test_a_bridge_that_was_never_used_is_dropped_in_silence(nats_server):
    NatsBridge(nats_server.url)
    gc.collect()


@pytest.mark.usefixtures("unclosed")
def test_what_a_dropped_bridge_has_to_send_is_stored(nats_server, bus, execution_id, eventually):
    def push():
        bridge = NatsBridge(nats_server.url)
        for number in range(500):
            bridge.push_execution_event(None, execution_id, "chunk", number)

    push()
    gc.collect()
    assert eventually(lambda: not [name for name in threads() if name.startswith("flow-client-nats")])
    assert [event["event_data"] for event in bus.events(execution_id)] == list(range(500))


@pytest.mark.usefixtures("unclosed")
def test_what_a_dropped_bridge_cannot_send_is_given_up_with_an_error(refusing_url, execution_id, eventually, caplog):
    def push():
        bridge = NatsBridge(refusing_url, connect_timeout=0.2, close_timeout=0.5)
        bridge.push_execution_event(None, execution_id, "chunk", 1)

    caplog.set_level(logging.ERROR)
    push()
    gc.collect()
    assert eventually(lambda: not threads())
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [error[:47] for error in errors] == ["a bridge was dropped without close(): 1 message"]


def test_what_a_dropped_bridge_has_to_send_is_stored_at_the_interpreters_exit(nats_server, bus, execution_id):
    program = (
        "import gc, sys\nfrom flow_client import NatsBridge\n"
        "bridge = NatsBridge(sys.argv[1])\n"
        "for number in range(2000): bridge.push_execution_event(None, sys.argv[2], 'chunk', number)\n"
        "del bridge\ngc.collect()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, nats_server.url, execution_id], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [event["event_data"] for event in bus.events(execution_id)] == list(range(2000))


@pytest.mark.usefixtures("unclosed")
def test_a_client_that_is_dropped_settles_its_futures_and_leaves_nothing(http_server, nats_server, eventually):
    process = psutil.Process()
    gc.collect()
    files = process.num_fds()
    http_server.queue(*[Answer(200, {"execution_id": "e-1", "status": "running"})] * 3)

    def begin():
        client = PlatformClient(
            base_url=http_server.url, auth_token="t", org_id="o", workspace_id="w", nats_url=nats_server.url
        )
        return client.execution("e-1").future()

    future = begin()
    gc.collect()
    assert future.result(30).execution_id == "e-1"
    del future
    assert eventually(lambda: (gc.collect(), not threads())[1])
    assert eventually(lambda: process.num_fds() <= files + 2)
