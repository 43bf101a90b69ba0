"""Following an execution's events: each once, in order, to their end."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future

import pytest
from support.jetstream import create_streams

from flow_client import BridgeError, ClientClosedError, InvalidRequestError, NatsBridge
from flow_client._nats.reader import SubjectReader
from flow_client.local.nats_server import NatsServer

NOW = "2026-01-05T09:30:00+00:00"


def put_event(bus, execution_id, sequence, event_type="chunk"):
    event = {"execution_id": execution_id, "sequence": sequence, "event_type": event_type, "event_data": sequence}
    bus.publish(f"exec.events.{execution_id}", json.dumps({**event, "timestamp": NOW, "new": 1}).encode())


def put_status(bus, execution_id, status):
    bus.publish(f"exec.status.{execution_id}", json.dumps({"status": status}).encode())


@pytest.mark.parametrize("last", ["done", "error"])
def test_it_ends_behind_the_last_event(bridge, bus, execution_id, last):
    put_event(bus, execution_id, 1)
    put_event(bus, execution_id, 2, last)
    put_event(bus, execution_id, 3)
    events = list(bridge.events(execution_id))
    assert [(event.sequence, event.event_type, event.event_data) for event in events] == [
        (1, "chunk", 1),
        (2, last, 2),
    ]
    assert events[0].new == 1


@pytest.mark.parametrize("status", ["completed", "FAILED", "cancelled"])
def test_it_ends_with_a_terminal_status(bridge, bus, execution_id, status):
    put_status(bus, execution_id, "running")
    put_event(bus, execution_id, 1)
    put_status(bus, execution_id, status)
    assert [event.sequence for event in bridge.events(execution_id)] == [1]


def test_until_a_future_is_done_nothing_that_is_said_ends_it(bridge, bus, execution_id):
    until = Future()
    events = bridge.events(execution_id, 2, until=until)
    put_event(bus, execution_id, 1)
    put_event(bus, execution_id, 2, "done")
    put_status(bus, execution_id, "completed")
    assert next(events).sequence == 2
    put_event(bus, execution_id, 3)
    assert next(events).sequence == 3
    put_event(bus, execution_id, 4)
    until.set_result(None)
    assert [event.sequence for event in events] == [4]


@pytest.mark.parametrize("end", [Future.cancel, lambda until: until.set_exception(KeyError("x"))])
def test_until_a_future_without_a_result_ends_it_at_once(bridge, bus, execution_id, end):
    until = Future()
    events = bridge.events(execution_id, until=until)
    put_event(bus, execution_id, 1)
    assert next(events).sequence == 1
    end(until)
    assert list(events) == []


def test_it_waits_for_events_to_come(bridge, bus, execution_id):
    seen = []

    def follow():
        seen.extend(event.sequence for event in bridge.events(execution_id))

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    for sequence in (1, 2, 3):
        put_event(bus, execution_id, sequence)
    put_event(bus, execution_id, 4, "done")
    follower.join(30)
    assert seen == [1, 2, 3, 4]


def test_what_stands_twice_is_seen_once(bridge, bus, execution_id):
    for sequence in (1, 2, 1, 2):
        put_event(bus, execution_id, sequence)
    put_event(bus, execution_id, 3, "done")
    assert [event.sequence for event in bridge.events(execution_id)] == [1, 2, 3]


def test_a_slow_reader_loses_none_of_many_events(bridge, execution_id):
    count = 12_000
    for number in range(count):
        bridge.push_execution_event(None, execution_id, "done" if number == count - 1 else "chunk", number)
    bridge.flush()
    seen = []
    for event in bridge.events(execution_id):
        if event.event_data in (0, 5000):
            time.sleep(1)
        seen.append(event.event_data)
    assert seen == list(range(count))


def test_a_read_that_is_cancelled_halfway_leaves_its_messages_to_the_next(bridge, execution_id):
    """As it is when a slow machine takes longer for a batch than an attempt may take."""
    reader = SubjectReader(bridge._runtime.connection, f"exec.events.{execution_id}")

    async def read():
        payloads, reading = [], asyncio.ensure_future(reader.read(30))
        while not reader.position:  # noqa: ASYNC110 - nothing else tells of it
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        while batch := await reader.read(1):
            payloads += batch
        await reader.close()
        return payloads

    for number in range(3_000):
        bridge.push_execution_event(None, execution_id, "chunk", number)
    bridge.flush()
    payloads = bridge._runtime.thread.run(read, timeout=60)
    assert [json.loads(payload)["event_data"] for payload in payloads] == list(range(3_000))


def test_an_event_that_is_not_stored_is_an_error_that_says_how_to_go_on(bridge, bus, execution_id):
    put_event(bus, execution_id, 1)
    put_event(bus, execution_id, 5, "done")
    events = bridge.events(execution_id)
    assert next(events).sequence == 1
    with pytest.raises(BridgeError, match=r"event 2 is not stored.*from_sequence=5"):
        next(events)
    assert [event.sequence for event in bridge.events(execution_id, from_sequence=5)] == [5]


def test_a_malformed_event_is_an_error(bridge, bus, execution_id):
    put_event(bus, execution_id, 1)
    bus.publish(f"exec.events.{execution_id}", b'{"sequence": "one"}')
    events = bridge.events(execution_id)
    assert next(events).sequence == 1
    with pytest.raises(BridgeError, match="an event is malformed"):
        next(events)


@pytest.mark.parametrize("status", [b"[]", b"running", b"{}"])
def test_a_malformed_status_is_an_error(bridge, bus, execution_id, status):
    bus.publish(f"exec.status.{execution_id}", status)
    with pytest.raises(BridgeError, match=r"status of .* is malformed"):
        list(bridge.events(execution_id))


@pytest.mark.parametrize("unusable", ["*", ">", "a.b", "", None])
def test_an_id_that_is_none_is_refused(bridge, unusable):
    with pytest.raises(InvalidRequestError, match="execution_id"):
        bridge.events(unusable)


def test_a_closed_bridge_says_so(bridge, execution_id):
    events = bridge.events(execution_id)
    bridge.close()
    with pytest.raises(ClientClosedError):
        next(events)


def test_an_iterator_that_is_given_up_leaves_no_consumer(bridge, bus, execution_id):
    put_event(bus, execution_id, 1)
    events = bridge.events(execution_id)
    next(events)
    assert len(bus.consumers("EXEC_EVENTS")) >= 1
    before = len(bus.consumers("EXEC_EVENTS"))
    events.close()
    bridge.publish_execution_status(execution_id, "running")
    assert len(bus.consumers("EXEC_EVENTS")) <= before


def test_it_goes_on_after_kills_of_the_server(tmp_path, execution_id):
    with NatsServer(tmp_path) as server:
        create_streams(server.url)
        seen = []
        with NatsBridge(server.url) as reader, NatsBridge(server.url) as writer:

            def follow():
                seen.extend(event.event_data for event in reader.events(execution_id))

            follower = threading.Thread(target=follow, daemon=True)
            follower.start()
            for number in range(60):
                if number % 20 == 10:
                    server.kill()
                    server.restart()
                writer.push_execution_event(None, execution_id, "chunk", number)
            writer.push_execution_event(None, execution_id, "done", 60)
            follower.join(60)
        assert seen == list(range(61))


def test_an_interrupt_lands_while_it_waits(nats_server, bus, execution_id):
    program = (
        "import sys\nfrom flow_client import NatsBridge\n"
        "with NatsBridge(sys.argv[1]) as bridge:\n"
        "    events = bridge.events(sys.argv[2])\n"
        "    sequence = next(events).sequence\n"
        "    try:\n"
        "        print(sequence, flush=True)\n"
        "        next(events)\n"
        "    except KeyboardInterrupt: print('interrupted', flush=True)\n"
    )
    put_event(bus, execution_id, 1)
    with subprocess.Popen(
        [sys.executable, "-c", program, nats_server.url, execution_id], stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout.readline() == "1\n"
        time.sleep(0.3)
        follower.send_signal(signal.SIGINT)
        assert follower.communicate(timeout=30)[0] == "interrupted\n"
        assert follower.returncode == 0
