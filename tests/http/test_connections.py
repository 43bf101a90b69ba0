"""Connections are kept and shared; answers come in every encoding, and no larger than they may be."""

import gzip
import json
import logging
import socket
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import faults

import flow_client
from flow_client import PlatformClient
from flow_client._core.deadline import Deadline
from flow_client._http.connections import _BoundedConnection
from flow_client._http.exchange import HttpExchange, current

RECORD = {"execution_id": "e-1", "status": "completed", "output": ["\u00e4", {"a": 1.5}] * 500}
DESCRIPTORS = Path("/proc/self/fd")
JSON = json.dumps(RECORD).encode()


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def encoded(encoding, body):
    return faults.answer(faults.OK + b"Content-Encoding: %b\r\n" % encoding, body)


ANSWERS = {
    "plain": faults.answer(body=JSON),
    "gzip": encoded(b"gzip", gzip.compress(JSON)),
    "x-gzip": encoded(b"x-gzip", gzip.compress(JSON)),
    "two gzip members": encoded(b"gzip", gzip.compress(JSON[:99]) + gzip.compress(JSON[99:])),
    "deflate": encoded(b"deflate", zlib.compress(JSON)),
    "raw deflate": encoded(b"deflate", raw_deflate(JSON)),
    "identity": encoded(b"identity", JSON),
    "one chunk": faults.chunked(JSON),
    "many chunks": faults.chunked(*(JSON[n : n + 100] for n in range(0, len(JSON), 100))),
    "gzip in chunks": faults.chunked(gzip.compress(JSON)).replace(b"200 OK", b"200 OK\r\nContent-Encoding: gzip"),
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + faults.answer(body=JSON),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_in_every_encoding_and_the_connection_kept(name):
    server = faults.RawServer(lambda _: [ANSWERS[name]])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        for _ in range(3):
            assert client.get_execution_status("e-1").output == RECORD["output"]
    assert server.connections == 1


def test_a_hundred_calls_take_one_connection():
    server = faults.RawServer(lambda _: [faults.answer()])
    with server, PlatformClient(server.url, "t-1", "o", "w") as client:
        for _ in range(50):
            client.get_execution_status("e-1")
            client.cancel_execution("e-1")
    assert (len(server.requests), server.connections) == (100, 1)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_closed_before_it_is_dropped(name):
    """What a signal handler raises in a destructor is lost, and the destructor of an open answer runs Python code."""
    server = faults.RawServer(lambda _: [ANSWERS[name]])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        client.get_execution_status("e-1")
        (pool,) = client._transport._session._session.get_adapter(server.url)._pools.values()
        assert pool.pool.queue[-1]._HTTPConnection__response.closed
    assert server.connections == 1


def test_a_connection_that_the_server_closed_in_between_is_replaced_without_a_failed_attempt(caplog):
    server = faults.RawServer(lambda _: [faults.answer(), None])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        for _ in range(5):
            client.get_execution_status("e-1")
            time.sleep(0.05)  # until the end of the connection has arrived
    assert server.connections == 5
    assert caplog.records == []


def test_a_compressed_gibibyte_of_zeros_takes_no_memory():
    limit = 1 << 20
    server = faults.RawServer(lambda _: [faults.bomb(1 << 30)])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_answer_bytes=limit, timeout=60) as client:
        tracemalloc.start()
        try:
            with pytest.raises(flow_client.PlatformResponseError, match=f"more than {limit} bytes"):
                client.get_execution_status("e-1")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16 * limit


def test_an_endless_answer_ends_at_the_limit():
    def pieces(_):
        yield faults.OK + b"Transfer-Encoding: chunked\r\n\r\n"
        while True:
            yield faults.chunk(b" " * 65536)

    server = faults.RawServer(pieces)
    client = PlatformClient(server.url, "t-1", "o", "w", max_answer_bytes=1 << 20, timeout=60)
    with server, client, pytest.raises(flow_client.PlatformResponseError, match="max_answer_bytes"):
        client.get_execution_status("e-1")


def test_a_chunk_of_negative_size_does_not_lift_the_limit():
    def pieces(_):
        yield faults.OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"
        while True:
            yield b" " * 65536

    server = faults.RawServer(pieces)
    client = PlatformClient(server.url, "t-1", "o", "w", max_answer_bytes=1000, timeout=5, max_attempts=1)
    with server, client, pytest.raises(flow_client.PlatformConnectionError) as caught:
        client.get_execution_status("e-1")
    assert not isinstance(caught.value, flow_client.PlatformTimeoutError)


def test_an_answer_of_just_the_limit_is_read():
    server = faults.RawServer(lambda _: [faults.answer(body=JSON)])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_answer_bytes=len(JSON)) as client:
        assert client.get_execution_status("e-1").output == RECORD["output"]


def test_32_threads_share_a_client_without_a_word_from_the_pool(caplog):
    head, body = faults.answer()[:20], faults.answer()[20:]
    server = faults.RawServer(lambda _: [head, body], pace=0.025)
    with (
        caplog.at_level(logging.WARNING),
        server,
        PlatformClient(server.url, "t-1", "o", "w") as client,
        ThreadPoolExecutor(32) as pool,
    ):
        records = list(pool.map(client.get_execution_status, ["e-1"] * 320))
    assert {record.status for record in records} == {"completed"}
    assert caplog.records == []
    assert server.connections <= 32


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts descriptors in /proc")
def test_failed_calls_leave_no_descriptor_open():
    server = faults.RawServer(lambda _: [faults.OK + b"Content-Length: 9\r\n\r\nx", None])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        for number in range(60):
            with pytest.raises(flow_client.PlatformConnectionError):
                client.get_execution_status("e-1")
            if number == 9:
                before = len(list(DESCRIPTORS.iterdir()))
        assert len(list(DESCRIPTORS.iterdir())) <= before + 4


def test_a_socket_is_closed_if_the_time_is_up_right_after_connecting():
    times = iter([0.0, 0.0, 10.0])  # the start, before connecting, behind it
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = _BoundedConnection("127.0.0.1", listener.getsockname()[1])
        token = current.set(HttpExchange(Deadline(5.0, lambda: next(times))))
        try:
            with pytest.raises(TimeoutError, match="the time is up"):
                connection._new_conn()
        finally:
            current.reset(token)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            assert accepted.recv(1) == b"", "the other end was closed"
