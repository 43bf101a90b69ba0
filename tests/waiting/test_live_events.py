"""`execute_…(…, on_event=…)`: events are shown in the calling thread, and the record comes whatever NATS does."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest
from support.bus import Bus
from support.http import Answer
from support.jetstream import create_streams

import flow_client
from flow_client import NatsBridge
from flow_client._nats import events
from flow_client._waiting import background
from flow_client.local.nats_server import NatsServer

SECONDS = 30
NOW = "2026-01-05T09:30:00+00:00"


class Execution:
    """One execution: submissions start it, and it ends when `end` is called."""

    def __init__(self, server):
        self.id = str(uuid.uuid4())
        self.status = "running"
        self.cancelled = 0
        self._server = server
        server.handle = self.handle

    def handle(self, request):
        if request.path.endswith("/cancel"):
            self.cancelled += 1
            return Answer(200, {})
        status = "pending" if request.method == "POST" else self.status
        return Answer(202 if request.method == "POST" else 200, {"execution_id": self.id, "status": status})

    def end(self, status="completed"):
        self.status = status

    def events(self, bus, *numbers, event_type="chunk"):
        for number in numbers:
            event = {"execution_id": self.id, "sequence": number, "event_type": event_type, "event_data": number}
            bus.publish(f"exec.events.{self.id}", json.dumps({**event, "timestamp": NOW}).encode())


@pytest.fixture
def client(make_client, nats_server):
    return make_client(nats_url=nats_server.url)


@pytest.fixture
def execution(http_server):
    return Execution(http_server)


def execute(client, on_event, **options):
    return client.execute_code_block("cb-1", {}, None, ring_id="r-1", on_event=on_event, **options)


WAYS = {
    "code block": execute,
    "workflow": lambda client, on_event: client.execute_workflow("w-1", {}, ring_id="r-1", on_event=on_event),
    "agent": lambda client, on_event: client.execute_agent("a", {}, None, "isolated", ring_id="r-1", on_event=on_event),
}


@pytest.mark.parametrize("way", WAYS)
def test_all_events_come_in_order_once_and_in_the_calling_thread_before_the_record(client, execution, nats_server, way):
    seen, threads = [], set()

    def on_event(event):
        seen.append(event.event_data)
        threads.add(threading.get_ident())

    def work():
        with NatsBridge(nats_server.url) as bridge:
            for number in range(500):
                bridge.push_execution_event(None, execution.id, "chunk", number)
            bridge.push_execution_output(None, execution.id, "done")
        execution.end()

    worker = threading.Thread(target=work)
    worker.start()
    assert WAYS[way](client, on_event).status == "completed"
    assert seen == list(range(500))
    assert threads == {threading.get_ident()}
    worker.join(SECONDS)


def test_an_event_is_shown_while_the_execution_runs(client, execution, bus):
    execution.events(bus, 1)

    def on_event(event):
        execution.end()

    # It ends because its event was shown, and by nothing else.
    assert execute(client, on_event, timeout_seconds=SECONDS).status == "completed"


def test_events_behind_one_that_says_done_are_shown_too(client, execution, bus):
    execution.events(bus, 1, event_type="done")
    execution.events(bus, 2, 3)
    execution.end()
    seen = []
    execute(client, lambda event: seen.append((event.sequence, event.event_type)))
    assert seen == [(1, "done"), (2, "chunk"), (3, "chunk")]


def test_an_end_at_any_moment_costs_no_event(client, http_server, bus):
    missing = []
    for number in range(40):
        execution, seen = Execution(http_server), []
        execution.events(bus, 1, 2)
        threading.Timer(0.0005 * number, execution.end).start()
        execute(client, seen.append)
        if [event.sequence for event in seen] != [1, 2]:
            missing.append(number)
    assert missing == []


def test_an_execution_that_dies_without_a_word_ends_the_call(client, execution, bus):
    execution.events(bus, 1, 2)
    seen = []

    def on_event(event):
        seen.append(event.sequence)
        if event.sequence == 2:
            execution.end("dead_letter")

    assert execute(client, on_event).status == "dead_letter"
    assert seen == [1, 2]


def test_an_execution_without_events_returns_and_leaves_nothing_behind(client, execution, eventually, bus, http_server):
    before = len(bus.consumers("EXEC_EVENTS"))
    execution.end()
    assert execute(client, pytest.fail).status == "completed"
    assert http_server.received[-1].headers["Prefer"] == "wait=20"
    assert eventually(lambda: background.THREAD_NAME not in [thread.name for thread in threading.enumerate()])
    assert eventually(lambda: len(bus.consumers("EXEC_EVENTS")) <= before)


def test_a_callback_may_take_longer_than_nats_is_waited_for(client, execution, nats_server, monkeypatch):
    monkeypatch.setattr(events, "REST_TIMEOUT", 4.0)
    with NatsBridge(nats_server.url) as bridge:
        for number in range(6000):
            bridge.push_execution_event(None, execution.id, "chunk", number)
    execution.end()
    seen = []

    def on_event(event):
        if event.event_data == 2000:
            time.sleep(4.5)
        seen.append(event.event_data)

    execute(client, on_event)
    assert seen == list(range(6000))


def test_with_check_and_a_failure_the_events_come_first(client, execution, bus):
    execution.events(bus, 1)
    execution.end("failed")
    seen = []
    with pytest.raises(flow_client.PlatformExecutionError, match="ended as 'failed'"):
        execute(client, seen.append, check=True)
    assert [event.sequence for event in seen] == [1]


def test_when_the_time_runs_out_it_is_cancelled_as_without_events(client, execution, bus):
    execution.events(bus, 1)
    seen = []
    with pytest.raises(flow_client.PlatformExecutionError, match="its cancellation was asked for") as caught:
        execute(client, seen.append, timeout_seconds=1)
    assert isinstance(caught.value.__cause__, flow_client.ExecutionWaitTimeout)
    assert execution.cancelled == 1
    assert [event.sequence for event in seen] == [1]


@pytest.mark.parametrize(
    ("on_interrupt", "cancelled", "ending"),
    [("detach", 0, "it goes on"), ("cancel", 1, "its cancellation is asked for")],
)
def test_what_the_callback_raises_comes_out_at_once(client, execution, bus, caplog, on_interrupt, cancelled, ending):
    execution.events(bus, 1, 2)
    seen = []

    def on_event(event):
        seen.append(event)
        raise KeyError("no such chunk")

    with pytest.raises(KeyError, match="no such chunk") as caught:
        execute(client, on_event, on_interrupt=on_interrupt)
    (line,) = [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert line.startswith(f"the wait for execution {execution.id} was interrupted by KeyError; {ending}")
    assert getattr(caught.value, "__notes__", [line]) == [line]
    assert len(seen) == 1
    assert execution.cancelled == cancelled


def test_without_nats_nothing_is_submitted(make_client, http_server):
    with pytest.raises(flow_client.ConfigurationError, match="NATS_URL"):
        execute(make_client(), print)
    assert http_server.received == []


@pytest.mark.parametrize(
    ("on_event", "options", "match"),
    [
        ("print", {}, "on_event is 'print'"),
        (print, {"on_interrupt": "stop"}, "on_interrupt is 'stop'"),
        (print, {"timeout_seconds": -1}, "timeout_seconds is -1"),
    ],
)
def test_unusable_arguments_are_refused_before_anything_is_sent(client, http_server, on_event, options, match):
    with pytest.raises(flow_client.InvalidRequestError, match=match):
        execute(client, on_event, **options)
    assert http_server.received == []


def test_an_inline_call_has_no_events(client, http_server):
    with pytest.raises(flow_client.InvalidRequestError, match=r"inline.*execution_mode='isolated'"):
        client.execute_agent("a-1", {}, None, on_event=print)
    assert http_server.received == []


def unshown(caplog):
    return [entry.message for entry in caplog.records if "cannot show the events" in entry.message]


def test_with_nats_out_of_reach_one_line_says_so_and_the_record_comes(make_client, refusing_url, execution, caplog):
    execution.end()
    assert execute(make_client(nats_url=refusing_url), pytest.fail).status == "completed"
    assert [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING] == unshown(caplog)
    (line,) = unshown(caplog)
    assert line.startswith(f"cannot show the events of execution {execution.id}; still waiting")


def test_with_nats_out_of_reach_a_long_execution_is_waited_for_over_http(
    make_client, refusing_url, execution, caplog, eventually
):

    def end():
        assert eventually(lambda: unshown(caplog))
        execution.end()

    threading.Thread(target=end, daemon=True).start()
    assert execute(make_client(nats_url=refusing_url), pytest.fail).status == "completed"
    (line,) = unshown(caplog)
    assert "no NATS server at" in line


@pytest.mark.parametrize("comes_back", [False, True])
def test_nats_that_is_killed_midway(make_client, execution, tmp_path, caplog, comes_back):
    with NatsServer(tmp_path) as server:
        create_streams(server.url)
        bus, client, seen = Bus(server.url), make_client(nats_url=server.url), []
        execution.events(bus, 1, 2)

        def on_event(event):
            seen.append(event.sequence)
            if event.sequence == 2:
                server.kill()
                if comes_back:
                    server.restart()
                    execution.events(bus, 3)
                execution.end()

        assert execute(client, on_event).status == "completed"
        client.close()
    assert seen == ([1, 2, 3] if comes_back else [1, 2])
    assert len(unshown(caplog)) == (0 if comes_back else 1)


@pytest.mark.parametrize("payload", [b'{"sequence": "one"}', None], ids=["malformed", "a number is missing"])
def test_an_event_that_cannot_be_shown_ends_the_showing_and_not_the_wait(client, execution, bus, caplog, payload):
    execution.events(bus, 1)
    if payload:
        bus.publish(f"exec.events.{execution.id}", payload)
    execution.events(bus, 7)
    execution.end()
    seen = []
    assert execute(client, seen.append).status == "completed"
    assert [event.sequence for event in seen] == [1]
    assert len(unshown(caplog)) == 1


def test_a_client_that_is_closed_meanwhile_ends_the_call(client, execution, bus, caplog):
    execution.events(bus, 1)
    with pytest.raises(flow_client.ClientClosedError):
        execute(client, lambda _: client.close())
    assert len(unshown(caplog)) == 1


PROGRAM = """
import logging, sys
from flow_client import PlatformClient
logging.basicConfig(stream=sys.stdout, format="%(message)s")
client = PlatformClient(sys.argv[1], "t", "org-1", "ws-1", nats_url=sys.argv[2])
try:
    show = lambda event: print("event", event.sequence, flush=True)
    client.execute_code_block("cb-1", {}, None, ring_id="r-1", on_event=show)
except KeyboardInterrupt:
    print("interrupted", client.get_execution_status(sys.argv[3]).status, flush=True)
"""


def test_ctrl_c_lands_at_once_and_the_client_is_usable_afterwards(http_server, nats_server, execution, bus):
    execution.events(bus, 1)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, http_server.url, nats_server.url, execution.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "event 1\n"
        time.sleep(0.3)
        program.send_signal(signal.SIGINT)
        output, errors = program.communicate(timeout=SECONDS)
    first, last = output.splitlines()
    assert first.startswith(f"the wait for execution {execution.id} was interrupted; it goes on")
    assert (last, errors, program.returncode) == ("interrupted running", "", 0)
