"""Futures of a client that has NATS: what is said there brings a look forward, and nothing depends on it."""

import asyncio
import gc
import json
import logging
import os
import socket
import statistics
import threading
import time
from concurrent import futures
from warnings import catch_warnings, simplefilter

import nats
import pytest
from support.http import Answer
from support.jetstream import create_streams
from support.size import few

from flow_client._core.deadline import Deadline
from flow_client._nats import hints, loop
from flow_client._nats.connection import Connection
from flow_client._nats.servers import resolve_servers
from flow_client._waiting import lanes
from flow_client._waiting.future_poller import THREAD_NAME
from flow_client._waiting.polling import PollSchedule
from flow_client.local.nats_server import NatsServer

FORKS = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
SECONDS = 30
NEVER_BY_ITSELF = PollSchedule(share=2000, longest=600)
"""With it the second poll is minutes away, unless a hint brings it forward."""


@pytest.fixture
def client(make_client, nats_server):
    return make_client(nats_url=nats_server.url)


@pytest.fixture
def patient(client):
    """The same client, whose futures are not polled a second time without a hint."""
    client._shared.futures._schedule = NEVER_BY_ITSELF
    return client


def record(execution_id, status="completed"):
    return Answer(200, {"execution_id": execution_id, "status": status})


def hints_of(client):
    return client._shared.bridge.opened.hints


def is_listening(client):
    return client._shared.bridge.opened is not None and hints_of(client).live


def asked(http_server, execution_id):
    return [request.path for request in http_server.received].count(
        f"/api/v1/orgs/org-1/workspaces/ws-1/executions/{execution_id}"
    )


def say(bus, execution_id, status):
    bus.publish(f"exec.status.{execution_id}", json.dumps({"status": status}).encode())


@pytest.fixture
def own_nats(tmp_path):
    """A server of the test's own, which it may kill."""
    with NatsServer(tmp_path) as server:
        create_streams(server.url)
        yield server


@pytest.mark.parametrize(
    "message", [("status", b'{"status": "completed"}'), ("status", b'{"status": "TIMEOUT"}'), ("output", b"{}")]
)
def test_a_hint_brings_the_poll_forward(patient, http_server, bus, eventually, message):
    kind, payload = message
    http_server.queue(record("e-1", "running"))
    future = patient.execution("e-1").future()
    assert eventually(lambda: http_server.received and is_listening(patient))
    bus.publish(f"exec.{kind}.e-1", payload)
    assert future.result(SECONDS).status == "completed"
    assert asked(http_server, "e-1") == 2


def test_what_says_nothing_of_the_end_brings_no_poll(patient, http_server, bus, eventually):
    http_server.queue(record("e-1", "running"))
    future = patient.execution("e-1").future()
    assert eventually(lambda: http_server.received and is_listening(patient))
    for payload in (b"", b"[]", b"{}", b"completed", b'{"status": 7}', b"[" * 100_000, b'{"status": "running"}'):
        bus.publish("exec.status.e-1", payload)
    for other in ("e-2", "e-11", "E-1"):
        say(bus, other, "completed")
    say(bus, "e-1", "completed")
    assert future.result(SECONDS).status == "completed"
    assert len(http_server.received) == 2


def test_all_futures_of_an_execution_are_told(patient, http_server, bus, eventually):
    http_server.queue(*[record("e-1", "running")] * 2)
    both = [patient.execution("e-1").future() for _ in range(2)]
    assert eventually(lambda: len(http_server.received) == 2 and is_listening(patient))
    say(bus, "e-1", "completed")
    assert [future.result(SECONDS).status for future in both] == ["completed"] * 2


def test_a_hint_before_the_record_is_followed_by_polls_until_it_is_there(patient, http_server, bus, eventually):
    running = record("e-1", "running")
    http_server.queue(running, running, running, running)
    future = patient.execution("e-1").future()
    assert eventually(lambda: http_server.received and is_listening(patient))
    say(bus, "e-1", "completed")
    assert future.result(SECONDS).status == "completed"
    assert len(http_server.received) == 5


@pytest.mark.soak
def test_among_a_thousand_the_one_that_ended_is_polled_before_the_others(client, http_server, bus, eventually):
    count, ended = few(300, of=1000), set()
    http_server.handle = lambda request: record(
        request.path.rpartition("/")[2], "completed" if request.path.rpartition("/")[2] in ended else "running"
    )
    pending = {f"e-{number}": client.execution(f"e-{number}").future() for number in range(count)}
    assert eventually(lambda: is_listening(client) and len(hints_of(client).subscribed) == count)
    polls = []
    for number in range(count - 10, count):
        before = len(http_server.received)
        ended.add(f"e-{number}")
        say(bus, f"e-{number}", "completed")
        assert pending[f"e-{number}"].result(SECONDS).status == "completed"
        polls.append(len(http_server.received) - before)
    # Publishing takes its time too, in which others are polled, longer on a busy machine. In turn, it would be half of
    # all of them.
    assert statistics.median(polls) < count / 4, polls
    names = [thread.name for thread in threading.enumerate()]
    assert (names.count(THREAD_NAME), names.count(loop.THREAD_NAME)) == (1, 1)
    assert names.count(lanes.THREAD_NAME) <= lanes.MOST_LANES
    for future in pending.values():
        future.cancel()


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_hundreds_of_hints_break_no_bound_and_leave_no_future_out(make_client, http_server, eventually, nats_server):
    """All of them end at once, and half of them are not heard of."""
    rate, client = 150, make_client(nats_url=nats_server.url, max_polls_per_second=150)
    count, started, ended = few(300, of=500), time.monotonic(), threading.Event()
    http_server.handle = lambda request: record(
        request.path.rpartition("/")[2], "completed" if ended.is_set() else "running"
    )
    pending = [client.execution(f"e-{number}").future() for number in range(count)]
    assert eventually(lambda: is_listening(client) and len(hints_of(client).subscribed) == count)
    ended.set()
    asyncio.run(announce(nats_server.url, range(count // 2, count)))
    done = {future.result(90).execution_id for future in pending}
    assert len(done) == count
    assert len(http_server.received) <= rate * (time.monotonic() - started) + 2


async def announce(url, numbers):
    connection = await nats.connect(url)
    for number in numbers:
        await connection.publish(f"exec.status.e-{number}", b'{"status": "completed"}')
    await connection.close()


def test_it_listens_from_the_first_future_to_the_last(client, http_server, eventually):
    http_server.default = record("e-1", "running")
    for _ in range(2):
        pending = [client.execution(f"e-{number % 3}").future() for number in range(6)]
        assert eventually(lambda: is_listening(client) and len(hints_of(client).subscribed) == 3)
        pending[0].cancel()
        assert eventually(lambda: len(client._shared.futures._pending) == 5)
        assert len(hints_of(client).subscribed) == 3
        for future in pending:
            future.cancel()
        assert eventually(lambda: not client._shared.bridge.opened._runtime.connection._client._subs)
        assert not is_listening(client)


def warnings(caplog):
    return [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_nats_that_cannot_be_reached_costs_one_line(make_client, refusing_url, http_server, caplog, eventually):
    urls = (refusing_url, "nats://no-such-host.invalid:4222")
    clients = [make_client(nats_url=url) for url in urls]
    for client in clients:
        http_server.queue(*[record("e-1", "running")] * 3)
        assert client.execution("e-1").future().result(SECONDS).status == "completed"
    http_server.default = record("e-1", "running")
    pending = [client.execution("e-1").future() for client in clients]
    assert eventually(lambda: len(warnings(caplog)) == 2)
    assert not any(future.done() for future in pending)
    for client in clients:
        client.close()
    assert len(warnings(caplog)) == 2
    for url in urls:
        (line,) = [line for line in warnings(caplog) if url in line]
        assert "futures fall back to HTTP polling: no NATS server at" in line


def test_a_url_that_is_none_costs_one_line(make_client, http_server, caplog):
    client = make_client(nats_url="http://x")
    for _ in range(3):
        assert client.execution("e-1").future().result(SECONDS).status == "completed"
    (line,) = warnings(caplog)
    assert "nats_url is not valid" in line


def test_a_login_that_is_refused_costs_one_line(make_client, nats_server, caplog, eventually):
    client = make_client(nats_url=f"nats://wrong@127.0.0.1:{nats_server.port}")
    assert client.execution("e-1").future().result(SECONDS).status == "completed"
    pending = client.execution("e-1").future()
    assert eventually(lambda: warnings(caplog))
    assert pending.result(SECONDS).status == "completed"
    (line,) = warnings(caplog)
    assert "refused the client" in line


@pytest.mark.parametrize("denied", ["exec.status.*", "exec.output.*"])
def test_a_subject_that_is_not_allowed_costs_one_line(make_client, http_server, tmp_path, caplog, eventually, denied):
    user = {"user": "u", "password": "p", "permissions": {"subscribe": {"deny": denied}}}
    with NatsServer(tmp_path, settings={"authorization": {"users": [user]}}) as server:
        client = make_client(nats_url=f"nats://u:p@127.0.0.1:{server.port}")
        http_server.default = record("e-1", "running")
        pending = [client.execution(f"e-{number}").future() for number in range(5)]
        assert eventually(lambda: warnings(caplog))
        http_server.default = record("e-1")
        assert [future.result(SECONDS).status for future in pending] == ["completed"] * 5
        assert client.execution("e-9").future().result(SECONDS).status == "completed"
        client.close()
    (line,) = warnings(caplog)
    assert "permissions violation for subscription" in line


def test_a_server_that_never_answers_delays_neither_futures_nor_the_close(make_client, http_server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = make_client(nats_url=f"nats://127.0.0.1:{listener.getsockname()[1]}")
        assert client.execution("e-1").future().result(SECONDS).status == "completed"
        http_server.default = record("e-1", "running")
        pending = client.execution("e-1").future()
        closing = threading.Thread(target=client.close, daemon=True)
        closing.start()
        closing.join(SECONDS)
        assert not closing.is_alive()
        assert pending.done()
    with catch_warnings():
        simplefilter("ignore")
        gc.collect()  # nats-py leaves the socket of an attempt that is cancelled to the garbage collector


def test_with_nats_killed_midway_all_futures_end_and_later_ones_have_hints_again(
    make_client, own_nats, http_server, caplog, eventually
):
    client, ended = make_client(nats_url=own_nats.url), set()
    http_server.handle = lambda request: record(
        request.path.rpartition("/")[2], "completed" if request.path.rpartition("/")[2] in ended else "running"
    )
    pending = {f"e-{number}": client.execution(f"e-{number}").future() for number in range(40)}
    assert eventually(lambda: is_listening(client))
    ended.update(f"e-{number}" for number in range(10))
    asyncio.run(announce(own_nats.url, range(5)))
    own_nats.kill()
    done, _ = futures.wait([pending[f"e-{number}"] for number in range(10)], SECONDS)
    assert len(done) == 10
    ended.update(f"e-{number}" for number in range(10, 30))
    done, _ = futures.wait([pending[f"e-{number}"] for number in range(30)], SECONDS)
    assert len(done) == 30
    own_nats.restart()
    assert eventually(lambda: is_listening(client))
    http_server.handle = None
    http_server.queue(record("e-50", "running"))
    client._shared.futures._schedule = NEVER_BY_ITSELF
    for future in pending.values():
        future.cancel()
    late = client.execution("e-50").future()
    assert eventually(lambda: not http_server.answers and hints_of(client).subscribed == {"e-50"})
    asyncio.run(announce(own_nats.url, [50]))
    assert late.result(SECONDS).status == "completed"
    client.close()
    assert len([line for line in warnings(caplog) if "NATS" in line]) == 1


@FORKS
def test_in_a_forked_child_futures_have_hints_of_their_own(client, http_server, bus, eventually):
    http_server.default = record("e-1", "running")
    inherited = client.execution("e-1").future()
    assert eventually(lambda: is_listening(client))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            http_is_deaf = client.execution("e-2").future()
            code = 0 if eventually(lambda: is_listening(client), SECONDS) and not http_is_deaf.done() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert is_listening(client)
    http_server.default = record("e-1")
    say(bus, "e-1", "completed")
    assert inherited.result(SECONDS).status == "completed"


def test_a_listener_that_is_stopped_between_two_subscriptions_leaves_none(nats_server):
    async def stop_between_them():
        connection = Connection(resolve_servers(nats_server.url), 5)
        client = await connection.client(Deadline(5))
        client._flush_queue = asyncio.Queue(1)  # full after the first one: nats-py then waits
        listener = hints._Listener(connection, {"e-1": [print]}, hints._Log())
        await asyncio.sleep(0.2)
        assert len(client._subs) == 2
        listener.stop()
        await asyncio.sleep(0.2)
        draining = asyncio.ensure_future(drain(client._flush_queue))
        await asyncio.wait({listener._task}, timeout=5)
        assert not client._subs
        draining.cancel()
        await connection.close()

    async def drain(queue):
        while True:
            await queue.get()

    asyncio.run(asyncio.wait_for(stop_between_them(), 20))
