"""Connections that are cut after each byte of a request and of its answer."""

import pytest
from support import faults
from support.http import Answer
from support.proxy import Cut, CuttingProxy
from support.size import few

import flow_client
from flow_client import PlatformClient
from flow_client._http.retry import Retrier

ACCEPTED = Answer(202, {"execution_id": "e-1", "status": "pending"}, {"Connection": "close"})
BODY = {"a": "b" * 20}
CUTS = [(direction, kind) for direction in ("request", "response") for kind in ("fin", "rst")]


def submit(client):
    return client.submit_workflow_execution("wf-1", BODY, ring_id="r-1")


def outcome(client):
    """Return what a submission returned or raised; an exception of anybody else's fails the test."""
    try:
        return submit(client)
    except flow_client.PlatformClientError as error:
        return error


@pytest.fixture
def proxy(http_server):
    http_server.default = ACCEPTED
    with CuttingProxy(int(http_server.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def make_proxied(proxy, make_client):
    """Makes clients that go through the proxy and do not pause between attempts."""

    def make(**options):
        client = make_client(base_url=proxy.url, timeout=20, **options)
        client._transport._retrier = Retrier(sleep=lambda _: None)
        return client

    return make


def lengths(client, proxy, eventually):
    """Return how many bytes a whole request and its answer have."""
    submit(client)
    assert eventually(lambda: proxy.passed)  # it notes them when the connection ends
    assert 300 < proxy.passed["request"] < 1000
    assert 100 < proxy.passed["response"] < 500
    return proxy.passed


def places(direction, length):
    """Return where to cut. An answer that does not begin at all is a request that is cut after its last byte."""
    every = range(length + 1) if direction == "request" else range(1, length)
    return few([*every[::5], every[-1]], of=every)


def is_whole(received):
    return received.body.endswith(b"}") and b"r-1" in received.body


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("direction", "kind"), CUTS)
def test_wherever_a_connection_is_cut_the_error_tells_whether_the_request_may_have_arrived(
    make_proxied, proxy, http_server, eventually, direction, kind
):
    client = make_proxied(max_attempts=1)
    for after in places(direction, lengths(client, proxy, eventually)[direction]):
        http_server.received.clear()
        proxy.cuts.append(Cut(direction, after, kind))
        error = outcome(client)
        assert isinstance(error, flow_client.PlatformConnectionError), (after, error)
        assert error.attempts == 1
        # The proxy took the connection, so bytes of the request were sent whatever became of them. Only a reset before
        # the first of them may have come while it was still being made.
        assert error.request_sent is True or (direction, after) == ("request", 0), (after, error)
        assert error.request_sent is True or not http_server.received
        if direction == "response":
            assert any(map(is_whole, http_server.received))
    assert submit(client).execution_id == "e-1"


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("direction", "kind"), CUTS)
def test_wherever_the_first_attempt_is_cut_the_call_succeeds_under_one_key(
    make_proxied, proxy, http_server, eventually, direction, kind
):
    client = make_proxied()
    for after in places(direction, lengths(client, proxy, eventually)[direction]):
        http_server.received.clear()
        proxy.cuts.append(Cut(direction, after, kind))
        handle = submit(client)
        whole = [received for received in http_server.received if is_whole(received)]
        assert {received.headers["Idempotency-Key"] for received in whole} == {handle.idempotency_key}
        assert len(whole) in ((2,) if direction == "response" else (1, 2))


@pytest.mark.parametrize("kind", ["fin", "rst"])
def test_a_chunked_answer_that_is_cut_is_never_taken_for_whole(kind):
    answer = faults.chunked(*(faults.DONE[n : n + 7] for n in range(0, len(faults.DONE), 7)))
    # With the 0 a chunked body has said that it is over; two ends of line come after it.
    needed = len(answer) - 4
    with (
        faults.RawServer(lambda _: [answer]) as server,
        CuttingProxy(server.port) as proxy,
        PlatformClient(proxy.url, "t-1", "o", "w", max_attempts=1) as client,
    ):
        for after in range(1, needed):
            proxy.cuts.append(Cut("response", after, kind))
            with pytest.raises(flow_client.PlatformConnectionError) as caught:
                client.get_execution_status("e-1")
            assert caught.value.request_sent is True
        assert client.get_execution_status("e-1").status == "completed"


@pytest.mark.parametrize("after", range(10, 45, 5))
def test_an_answer_that_ends_within_its_head_is_not_taken_for_an_empty_one(after):
    head = b"HTTP/1.1 200 OK\r\nRetry-After: 1200\r\nContent-Length: 4\r\n\r\nnull"
    server = faults.RawServer(lambda _: [head[:after], None])
    client = PlatformClient(server.url, "t-1", "o", "w", max_attempts=1)
    with server, client, pytest.raises(flow_client.PlatformConnectionError) as caught:
        client.cancel_execution("e-1")
    assert (caught.value.stage, caught.value.request_sent) == ("answer", True)


def test_an_answer_without_a_length_ends_with_its_connection():
    server = faults.RawServer(lambda _: [faults.OK + b"\r\n" + faults.DONE, None])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        assert client.get_execution_status("e-1").status == "completed"
