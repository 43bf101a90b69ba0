"""A call keeps to its deadline whatever the server does, and says where the time went."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import faults

import flow_client
from flow_client import PlatformClient

LATENESS = 0.25
"""Seconds, on a machine that wakes its threads in time."""
EARLY = 0.005

TIMED_OUT = flow_client.PlatformTimeoutError
CASES = {
    "silent": (faults.silent, TIMED_OUT, "answer"),
    "dripping body": (faults.dripping_body, TIMED_OUT, "body"),
    "dripping head": (faults.dripping_head, TIMED_OUT, "answer"),
    "endless chunks": (faults.endless_chunks, TIMED_OUT, "body"),
    "full backlog": (faults.FullBacklog, TIMED_OUT, "connect"),
    "rate limited": (faults.rate_limited, flow_client.PlatformRateLimitError, None),
    # The last attempt may meet the deadline before its answer.
    "down": (faults.down, (flow_client.PlatformServerError, TIMED_OUT), None),
    "flapping": (faults.flapping, None, None),
}


def client_of(url, timeout, **options):
    return PlatformClient(url, "t-1", "org-1", "ws-1", timeout=timeout, **options)


def call(client):
    """Return what a call raised, or None, and the seconds it took."""
    started = time.monotonic()
    try:
        client.get_execution_status("e-1")
    except flow_client.PlatformClientError as error:
        return error, time.monotonic() - started
    return None, time.monotonic() - started


def check(name, deadlines, machine):
    """Return what was wrong with the calls to the faulty server `name`, one after the other."""
    make, kind, stage = CASES[name]
    wrong = []
    with make() as server:
        for deadline in deadlines:
            with client_of(server.url, deadline, max_attempts=20) as client:
                error, took = call(client)
            right = isinstance(error, kind or type(None)) and stage in (None, getattr(error, "stage", None))
            on_time = took <= deadline + LATENESS + machine.excuse and (
                kind is not TIMED_OUT or took >= deadline - EARLY
            )
            if not (right and on_time):
                wrong.append((name, deadline, took, error))
    return wrong


@pytest.mark.timeout(60)
def test_a_call_returns_at_its_deadline_whatever_the_server_does(machine):
    with ThreadPoolExecutor(len(CASES)) as pool:
        runs = [pool.submit(check, name, (0.5, 2.0), machine) for name in CASES]
        assert [wrong for run in runs for wrong in run.result()] == []


def test_the_error_of_a_deadline_says_what_is_known(machine):
    message = r"the deadline of 0\.3 s passed at the stage 'answer'.*may have been received"
    with (
        faults.silent() as server,
        client_of(server.url, 0.3) as client,
        pytest.raises(TIMED_OUT, match=message) as caught,
    ):
        client.submit_workflow_execution("wf-1", {}, ring_id="r-1")
    error = caught.value
    assert (error.request_sent, error.stage, error.attempts) == (True, "answer", 1)
    assert error.idempotency_key.encode() in server.requests[0]
    assert 0.3 - EARLY <= error.elapsed <= 0.3 + LATENESS + machine.excuse


def test_a_body_that_nobody_reads_is_given_up_at_the_deadline(machine):
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener, client_of(url, 0.5) as client, pytest.raises(TIMED_OUT) as caught:
        client.submit_workflow_execution("wf-1", {"a": "x" * 30_000_000}, ring_id="r-1")
    assert (caught.value.stage, caught.value.request_sent) == ("request", True)
    # Writing 30 MB as JSON comes before the deadline begins.
    assert caught.value.elapsed <= 0.5 + LATENESS + machine.excuse


@pytest.fixture
def resolve(monkeypatch):
    """Has the name `platform.test` resolve to the given addresses."""
    real = socket.getaddrinfo

    def to(*addresses):
        def getaddrinfo(host, port, *arguments, **options):
            hosts = addresses if host == "platform.test" else [host]
            return [found for each in hosts for found in real(each, port, *arguments, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return to


def test_two_addresses_that_swallow_connections_do_not_take_twice_the_time(resolve, machine):
    resolve("127.0.0.1", "127.0.0.2")
    server = faults.FullBacklog("0.0.0.0")  # both addresses are its own
    with server, client_of(f"http://platform.test:{server.port}", 1.0) as client:
        error, took = call(client)
    assert (type(error), error.stage, error.request_sent) == (TIMED_OUT, "connect", False)
    assert 1.0 - EARLY <= took <= 1.0 + LATENESS + machine.excuse


def test_an_address_that_swallows_connections_leaves_time_for_the_next(resolve, http_server):
    resolve("127.0.0.2", "127.0.0.1")
    port = int(http_server.url.rpartition(":")[2])
    client = client_of(f"http://platform.test:{port}", 1.0, max_attempts=1)
    with faults.FullBacklog("127.0.0.2", port), client:
        assert client.get_execution_status("e-1").status == "completed"


def test_an_address_that_refuses_gives_its_time_to_the_next(resolve, http_server):
    resolve("127.0.0.3", "127.0.0.1")
    with client_of(http_server.url.replace("127.0.0.1", "platform.test"), 5.0, max_attempts=1) as client:
        assert client.get_execution_status("e-1").status == "completed"
    assert http_server.received[0].headers["Host"].startswith("platform.test:")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(host):
    with client_of(f"http://{host}", 5.0, max_attempts=1) as client:
        error, _ = call(client)
    assert isinstance(error, flow_client.PlatformClientError)
    assert getattr(error, "request_sent", False) is False


def test_a_request_that_an_earlier_attempt_sent_stays_sent():
    server = faults.RawServer(lambda _: [None])
    with server, client_of(server.url, 5.0, max_attempts=2) as client:
        client._transport._retrier._sleep = lambda _: server.stop()
        with pytest.raises(flow_client.PlatformConnectionError, match="may have been received") as caught:
            client.submit_workflow_execution("wf-1", {}, ring_id="r-1")
    assert (caught.value.attempts, caught.value.stage, caught.value.request_sent) == (2, "connect", True)
    assert len(server.requests) == 1
