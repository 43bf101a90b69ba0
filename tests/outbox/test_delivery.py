"""What the outbox stores, in batches and through a window: all of it, once and in order."""

import json
import logging
import os
import signal
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.freezing import freeze
from support.jetstream import MODES, create_streams, read_events, with_jetstream

from flow_client import (
    BridgeError,
    BridgeStats,
    ClientClosedError,
    ConfigurationError,
    NatsBridge,
    PayloadTooLargeError,
    UndeliveredError,
)
from flow_client._nats.outbox.sequences import LONGEST_MEMORY
from flow_client.local.nats_server import NatsServer


@pytest.fixture(scope="module", params=MODES)
def nats_server(request, tmp_path_factory):
    """A server with streams of either mode: the bus and the bridge are its own."""
    with NatsServer(tmp_path_factory.mktemp(request.param)) as server:
        create_streams(server.url, request.param)
        yield server


@pytest.fixture
def server(nats_server):
    return nats_server


@pytest.fixture
def frozen(server):
    """Freezes the server, and thaws it at the end at the latest."""
    yield lambda: freeze(server.pid)
    os.kill(server.pid, signal.SIGCONT)


def _push(bridge, execution_id, *data):
    for value in data:
        bridge.push_execution_event(None, execution_id, "chunk", value)


def _in_threads(*targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_eight_threads_leave_no_gap_and_each_keeps_its_order(server, bridge, execution_id):
    each = 2000
    _in_threads(
        *(
            lambda thread=thread: _push(bridge, execution_id, *((thread, number) for number in range(each)))
            for thread in range(8)
        )
    )
    bridge.flush()
    events = read_events(server.url, execution_id)
    assert [event["sequence"] for event in events] == list(range(1, 8 * each + 1))
    for thread in range(8):
        mine = [event["event_data"][1] for event in events if event["event_data"][0] == thread]
        assert mine == list(range(each))
    stats = bridge.stats()
    assert stats == BridgeStats(stored=8 * each, unacked=0, resent=0, sessions=1, longest_pause=0)


def test_executions_are_numbered_apart(server, bridge):
    executions = [str(uuid.uuid4()) for _ in range(5)]
    for number in range(100):
        for execution_id in executions:
            _push(bridge, execution_id, number)
    bridge.flush()
    for execution_id in executions:
        events = read_events(server.url, execution_id)
        assert [(event["sequence"], event["event_data"]) for event in events] == [(n + 1, n) for n in range(100)]


def test_an_output_returns_when_all_events_before_it_are_stored(server, bridge, bus, execution_id):
    _push(bridge, execution_id, *range(500))
    bridge.push_execution_output(None, execution_id, "done")
    assert len(read_events(server.url, execution_id)) == 500
    assert len(bus.outputs(execution_id)) == 1


def test_two_bridges_that_push_at_once_share_the_numbers(server, bridge, execution_id):
    with NatsBridge(server.url) as other:

        def push(bridge, name):
            for number in range(20):
                _push(bridge, execution_id, (name, number))
                bridge.flush()

        _in_threads(lambda: push(bridge, "a"), lambda: push(other, "b"))
    events = read_events(server.url, execution_id)
    assert [event["sequence"] for event in events] == list(range(1, 41))
    for name in ("a", "b"):
        assert [event["event_data"][1] for event in events if event["event_data"][0] == name] == list(range(20))


def test_a_restarted_worker_goes_on_where_the_last_one_ended(server, execution_id):
    for _ in range(3):
        with NatsBridge(server.url) as bridge:
            _push(bridge, execution_id, *range(50))
    assert [event["sequence"] for event in read_events(server.url, execution_id)] == list(range(1, 151))


def test_nothing_is_waited_for_while_events_are_pushed(server, bridge, frozen, monkeypatch, execution_id):
    _push(bridge, execution_id, 0)
    bridge.flush()
    log, wakes = bridge._runtime.outbox._backlog, []
    wake = log._wake
    monkeypatch.setattr(log, "_wake", lambda: [wakes.append(1), wake()])
    frozen()
    _push(bridge, execution_id, *range(1, 1000))
    assert len(wakes) <= 2  # for the first one, and for what follows while that is on its way
    assert bridge.stats().unacked == 999
    os.kill(server.pid, signal.SIGCONT)
    bridge.flush()
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == list(range(1000))


@pytest.mark.parametrize("limits", [{"max_unacked": 10}, {"max_unacked_bytes": 1500}], ids=["count", "bytes"])
def test_a_full_outbox_blocks_the_caller_until_there_is_room(server, frozen, eventually, execution_id, limits):
    with NatsBridge(server.url, **limits) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        pushing = threading.Thread(target=_push, args=(bridge, execution_id, *range(1, 100)))
        pushing.start()
        assert eventually(lambda: bridge._runtime.outbox._backlog._blocked)
        assert pushing.is_alive()
        assert 0 < bridge.stats().unacked <= 10
        os.kill(server.pid, signal.SIGCONT)
        pushing.join(60)
        assert not pushing.is_alive()
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == list(range(100))


def test_ctrl_c_lands_in_a_caller_who_waits_for_room(server, frozen, execution_id):
    with NatsBridge(server.url, max_unacked=10) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            _push(bridge, execution_id, *range(1, 100))
        timer.join()
        os.kill(server.pid, signal.SIGCONT)
        _push(bridge, execution_id, "later")
    data = [event["event_data"] for event in read_events(server.url, execution_id)]
    assert data == [*range(len(data) - 1), "later"]
    assert len(data) == 12


def test_close_gives_up_what_is_left_and_counts_it(server, frozen, execution_id):
    with NatsBridge(server.url, close_timeout=0.3) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        _push(bridge, execution_id, *range(7))
        with pytest.raises(UndeliveredError, match=r"7 messages were not stored.*closed") as caught:
            bridge.close()
        assert caught.value.undelivered == 7
        bridge.close()
        with pytest.raises(ClientClosedError):
            _push(bridge, execution_id, 1)
        with pytest.raises(ClientClosedError):
            bridge.push_execution_output(None, execution_id, 1)


def test_a_block_that_fails_is_not_masked_by_what_is_undelivered(server, frozen, execution_id, caplog):
    with pytest.raises(KeyError, match="the user's"), NatsBridge(server.url, close_timeout=0.3) as bridge:  # noqa: PT012 - what happens within is the test
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        _push(bridge, execution_id, 1, 2)
        raise KeyError("the user's")
    assert "2 messages were not stored" in caplog.text


def test_what_is_too_large_before_the_first_connection_is_told_later(server, execution_id):
    with NatsBridge(server.url) as bridge:
        # The first message of all is taken before there is a connection to ask.
        _push(bridge, execution_id, "x" * 2**20)
        with pytest.raises(UndeliveredError, match=r"1 message was not stored; .* accepts at most 1048064"):
            bridge.flush()
        _push(bridge, execution_id, 1, 2)
        with pytest.raises(PayloadTooLargeError):
            _push(bridge, execution_id, "x" * 2**20)
        _push(bridge, execution_id, 3)
        bridge.flush()
    assert [(event["sequence"], event["event_data"]) for event in read_events(server.url, execution_id)] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_a_push_that_is_slow_to_return_reports_its_own_message_to_the_next_call(server, execution_id, eventually):
    def wait_until_given_up(frame, event, _argument):
        if event == "call" and frame.f_code.co_name == "raise_failures":
            assert eventually(lambda: bridge.stats().unacked == 0)

    with NatsBridge(server.url) as bridge:
        sys.setprofile(wait_until_given_up)
        try:
            _push(bridge, execution_id, "x" * 2**20)
        finally:
            sys.setprofile(None)
        with pytest.raises(UndeliveredError, match="1 message was not stored"):
            _push(bridge, execution_id, 1)
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == [1]


def test_an_output_that_is_stored_tells_of_events_that_are_not(server, bus, execution_id):
    with NatsBridge(server.url) as bridge:
        _push(bridge, execution_id, "x" * 2**20)
        with pytest.raises(UndeliveredError, match=r"1 earlier message was not stored \(this one was\)") as caught:
            bridge.push_execution_output(None, execution_id, "done")
        assert caught.value.undelivered == 1
        assert len(bus.outputs(execution_id)) == 1
        bridge.publish_execution_status(execution_id, "completed")


def test_events_without_a_stream_are_counted_and_the_bridge_goes_on(server, bus, execution_id):
    config = bus.do(lambda js: js.stream_info("EXEC_EVENTS")).config
    with NatsBridge(server.url) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        bus.do(lambda js: js.delete_stream("EXEC_EVENTS"))
        try:
            _push(bridge, execution_id, 1)
            with pytest.raises(UndeliveredError, match=r"no JetStream stream takes exec\.events") as caught:
                bridge.flush()
            bridge.publish_execution_status(execution_id, "running")
        finally:
            bus.do(lambda js: js.add_stream(config))
        assert caught.value.undelivered == 1
        _push(bridge, execution_id, 4)
        bridge.flush()
    assert [event["sequence"] for event in read_events(server.url, execution_id)] == [2]


def test_the_next_call_tells_what_could_not_be_stored_and_is_taken(server, eventually, execution_id):
    with NatsBridge(server.url) as bridge:
        _push(bridge, execution_id, "x" * 2**20)
        assert eventually(lambda: bridge.stats().unacked == 0)
        with pytest.raises(UndeliveredError):
            _push(bridge, execution_id, "next")
        _push(bridge, execution_id, "one more")
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == ["next", "one more"]


def test_refused_credentials_are_told_to_those_who_only_push(server, execution_id):
    with NatsBridge(f"nats://wrong@127.0.0.1:{server.port}") as bridge:
        _push(bridge, execution_id, 1)
        with pytest.raises(UndeliveredError, match="refused the client"):
            bridge.flush()


def test_an_id_that_another_message_has_is_an_error(server, bridge, bus, execution_id):
    _push(bridge, execution_id, 1)
    bridge.flush()
    log = bridge._runtime.outbox._backlog
    bus.publish(f"exec.status.{execution_id}", b"{}", {"Nats-Msg-Id": f"{log._name}-2"})
    with pytest.raises(BridgeError, match="another message has the id"):
        bridge.publish_execution_status(execution_id, "running")
    bridge.publish_execution_status(execution_id, "running")


def _counts(server):
    """Return how many events each of the executions `many-…` has."""

    async def read(js):
        found = (await js.stream_info("EXEC_EVENTS", subjects_filter="exec.events.many-*")).state.subjects
        return {subject.removeprefix("exec.events."): count for subject, count in found.items()}

    return with_jetstream(server.url, read)


def test_more_executions_than_are_remembered_disturb_nothing(server, caplog):
    executions = [f"many-{uuid.uuid4()}" for _ in range(LONGEST_MEMORY + 500)]
    with NatsBridge(server.url) as bridge:
        for data in ("first", "second"):
            for execution_id in executions:
                _push(bridge, execution_id, data)
            bridge.flush()
        assert (bridge.stats().stored, bridge.stats().unacked) == (2 * len(executions), 0)
    assert _counts(server) == dict.fromkeys(executions, 2)
    for execution_id in (executions[0], executions[-1]):
        events = read_events(server.url, execution_id)
        assert [(event["sequence"], event["event_data"]) for event in events] == [(1, "first"), (2, "second")]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_only_what_was_sent_before_counts_as_sent_again(server, bridge, bus, execution_id):
    _push(bridge, execution_id, 1)
    bridge.flush()
    foreign = {"sequence": 2, "event_type": "chunk", "event_data": "another"}
    bus.publish(f"exec.events.{execution_id}", json.dumps(foreign).encode())
    pushed = threading.Event()
    bridge._runtime.thread.post(lambda: pushed.wait(30))  # what comes meanwhile is one run
    _push(bridge, execution_id, *range(3, 8))
    pushed.set()
    bridge.flush()
    assert [event["sequence"] for event in read_events(server.url, execution_id)] == list(range(1, 8))
    takes_batches = bus.do(lambda js: js.stream_info("EXEC_EVENTS")).config.allow_batched
    # Without batches the first of them is sent alone, and refused.
    assert bridge.stats().resent == (5 if takes_batches else 1)


def _end_loop():
    raise SystemExit("from the loop")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_loop_dies_whoever_waits_and_whoever_comes_is_told(server, frozen, eventually, execution_id):
    with NatsBridge(server.url) as bridge, ThreadPoolExecutor(1) as threads:
        _push(bridge, execution_id, 1)
        bridge.flush()
        frozen()
        _push(bridge, execution_id, 2)
        waiting = threads.submit(bridge.publish_execution_status, execution_id, "running")
        assert eventually(lambda: bridge.stats().unacked == 2)
        bridge._runtime.thread.post(_end_loop)
        with pytest.raises(BridgeError, match="the bridge's background thread has ended"):
            waiting.result(30)
        with pytest.raises(BridgeError, match="thread has ended"):
            _push(bridge, execution_id, 3)
        with pytest.raises(UndeliveredError, match="1 message was not stored"):
            bridge.flush()


def test_an_interrupted_close_gives_nothing_up_and_can_be_called_again(server, frozen, execution_id):
    with NatsBridge(server.url) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        _push(bridge, execution_id, 1, 2)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            bridge.close()
        timer.join()
        with pytest.raises(ClientClosedError):
            _push(bridge, execution_id, 3)
        os.kill(server.pid, signal.SIGCONT)
        bridge.close()
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == [0, 1, 2]


def test_a_signal_handler_pushes_and_flushes_amid_a_push_that_waits_for_room(server, frozen, execution_id):
    """The handler flushes what the main thread has pushed; it is held up by nothing that the main thread holds."""
    flushed = []

    def handle(*_):
        os.kill(server.pid, signal.SIGCONT)
        _push(bridge, execution_id, "from the handler")
        bridge.flush()
        flushed.append([event["event_data"] for event in read_events(server.url, execution_id)])

    with NatsBridge(server.url, max_unacked=2) as bridge:
        _push(bridge, execution_id, 0)
        bridge.flush()
        frozen()
        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            _push(bridge, execution_id, 1, 2, 3)
        finally:
            signal.signal(signal.SIGALRM, before)
    assert flushed == [[0, 1, 2, "from the handler"]]
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == [*flushed[0], 3]


@pytest.mark.parametrize("name", ["max_unacked", "max_unacked_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_a_bound_is_a_whole_number_above_0(name, value):
    with pytest.raises(ConfigurationError, match=name):
        NatsBridge("nats://127.0.0.1", **{name: value})
