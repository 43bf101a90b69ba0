"""What nobody closes: readers of events, and bridges, that are dropped."""

import gc
import json
import threading

import pytest

from flow_client import BridgeTimeoutError, NatsBridge

READERS = 1_100
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
    bridge._thread.post(lambda: (gc.collect(), collected.set()))
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
    return bus._do(lambda js: js.stream_info("EXEC_EVENTS")).state.consumer_count


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
            if number % 220 == 219:
                collect(bridge)
    events = None
    in_this_thread(bridge)
    assert eventually(lambda: consumers(bus) <= before, 3)  # the server itself would take 5 s
    assert not bridge._connection.closers
    assert eventually(lambda: not bridge._connection._background)
    assert capfd.readouterr().err == ""


def test_a_reader_that_fails_leaves_no_consumer(bridge, bus, execution_id, eventually):
    put_event(bus, execution_id, 1)
    put_event(bus, execution_id, 3)
    before = consumers(bus)
    for _ in range(20):
        events = bridge.events(execution_id)
        with pytest.raises(Exception, match="event 2 is not stored"):
            list(events)
    assert eventually(lambda: consumers(bus) <= before, 3)


def test_a_read_that_is_cancelled_leaves_no_consumer(bridge, bus, execution_id, eventually):
    before = consumers(bus)
    list_of_events = [bridge.events(execution_id) for _ in range(20)]
    for number, events in enumerate(list_of_events):
        # Now while the consumer is made, now while nothing comes.
        with pytest.raises(BridgeTimeoutError):
            bridge._thread.run(events._reader.read, timeout=0.001 * number)
        events.close()
    assert eventually(lambda: consumers(bus) <= before, 3)


def test_a_bridge_that_is_closed_leaves_no_consumer(nats_server, bus, execution_id):
    put_event(bus, execution_id, 1)
    before = consumers(bus)
    with NatsBridge(nats_server.url) as bridge:
        readers = [bridge.events(execution_id) for _ in range(20)]
        assert [next(events).sequence for events in readers] == [1] * 20
        assert consumers(bus) == before + 20
    assert consumers(bus) == before
