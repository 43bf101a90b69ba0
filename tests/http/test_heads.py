"""The head of an answer is read as http.client reads it, and a call costs half of what it costs through requests."""

import http.client
import socket
import sys
from contextlib import closing

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from support import faults

from flow_client import PlatformClient
from flow_client._core.deadline import Deadline
from flow_client._http.exchange import HttpExchange, current
from flow_client._http.response import BoundedResponse

BODY = b'{"a": 1}'
LENGTH = b"Content-Length: 8\r\n"
HEADS = {
    "usual": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + LENGTH,
    "an error": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n" + LENGTH,
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH,
    "an empty reason": b"HTTP/1.1 200 \r\n" + LENGTH,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + LENGTH,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + LENGTH,
    "kept alive": b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\n" + LENGTH,
    "closed": b"HTTP/1.1 200 OK\r\nconnection: Close\r\n" + LENGTH,
    "a field twice": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n" + LENGTH,
    "an empty field": b"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Blank:  \t \r\n" + LENGTH,
    "white space": b"HTTP/1.1 200 OK\r\nX-A: \t a: b  \r\n" + LENGTH,
    "a folded field": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\n" + LENGTH,
    "a field beyond ASCII": b"HTTP/1.1 200 OK\r\nX-A: \xe4\r\n" + LENGTH,
    "a line that is no field": b"HTTP/1.1 200 OK\r\nX-A\r\n" + LENGTH,
    "a name with a space": b"HTTP/1.1 200 OK\r\nX A: a\r\n" + LENGTH,
    "line feeds alone": b"HTTP/1.1 200 OK\nX-A: a\nContent-Length: 8\n",
    "a carriage return alone": b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n" + LENGTH,
    "no length": b"HTTP/1.1 200 OK\r\nX-A: a\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\n" + LENGTH + LENGTH,
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +8\r\n",
    "a length of letters": b"HTTP/1.1 200 OK\r\nContent-Length: eight\r\n",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n" % (b"9" * 5000),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
    "chunks and a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + LENGTH,
    "no content": b"HTTP/1.1 204 No Content\r\n" + LENGTH,
    "not modified": b"HTTP/1.1 304 Not Modified\r\n" + LENGTH,
    "after a 100": b"HTTP/1.1 100 Continue\r\nX-B: b\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH,
    "after a 103": b"HTTP/1.1 103 Early Hints\r\nX-B: b\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 150,
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 90 + LENGTH,
    "a head of many pages": b"HTTP/1.1 200 OK\r\n" + b"X-A: %s\r\n" % (b"a" * 1000) * 40 + LENGTH,
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n" + LENGTH,
}


def read(kind, head):
    """Return what an answer's head says as `kind` reads it, and where its body begins."""
    content = head + b"\r\n" + BODY
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        with closing(kind(ours, method="GET")) as answer:
            try:
                answer.begin()
            except http.client.HTTPException as error:
                return type(error)
            said = [answer.status, answer.code, answer.reason, answer.version, answer.headers.items()]
            said += [answer.msg is answer.headers, answer.length, answer.chunked, answer.chunk_left, answer.will_close]
            return [*said, answer.fp.read(len(BODY))]


@pytest.fixture(autouse=True)
def _exchange():
    token = current.set(HttpExchange(Deadline(60.0), stage="body"))
    yield
    current.reset(token)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_read_as_http_client_reads_it(name):
    assert read(BoundedResponse, HEADS[name]) == read(http.client.HTTPResponse, HEADS[name])


NAMES = st.text("abcXYZ-_:\x00 \t", max_size=6) | st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection"])
VALUES = st.text("aZ09 \t:,\r\n\x0b\x85\xe4", max_size=8) | st.sampled_from(["8", "chunked", "close", "keep-alive"])


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["200 OK", "404", "100 Continue", "204 x"]), st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_any_head_is_read_as_http_client_reads_it(status, fields):
    head = "".join([f"HTTP/1.1 {status}\r\n", *(f"{name}:{value}\r\n" for name, value in fields)]).encode("latin-1")
    token = current.set(HttpExchange(Deadline(60.0), stage="body"))
    try:
        assert read(BoundedResponse, head) == read(http.client.HTTPResponse, head)
    finally:
        current.reset(token)


def functions_called(work):
    """Return how many functions of Python `work` calls."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    work()  # what is done once is done
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_call_costs_at_most_half_of_one_through_requests():
    """Time cannot be tested, function calls can: they are what a call's time consists of."""
    server = faults.RawServer(lambda _: [faults.answer()])
    with server, PlatformClient(server.url, "t-1", "o", "w") as client, requests.Session() as session:
        url = f"{server.url}/api/v1/orgs/o/workspaces/w/executions/e-1"
        headers = {"Authorization": "Bearer t-1"}
        ours = functions_called(lambda: client.get_execution_status("e-1"))
        theirs = functions_called(lambda: session.get(url, headers=headers).json())
    assert ours <= 0.5 * theirs, (ours, theirs)
