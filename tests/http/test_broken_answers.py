"""Answers that are not HTTP, or not what their headers say, from a real socket."""

import pytest
from support import faults

import flow_client
from flow_client import PlatformClient

BODY = faults.DONE
BROKEN = {
    "not HTTP": b"SSH-2.0-OpenSSH_9\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc\r\n\r\n",
    "a status line that is too long": b"HTTP/1.1 200 " + b"x" * 70_000,
    "a header that is too long": faults.OK + b"X: " + b"x" * 70_000,
    "too many headers": faults.OK + b"X: y\r\n" * 200,
    "two lengths": faults.OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nnull",
    "a length that is too long": faults.OK + b"Content-Length: 4000\r\n\r\n" + BODY,
    "a chunk without a size": faults.OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a negative chunk": faults.OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
    "a chunk size that is too long": faults.OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    "no gzip": faults.answer(faults.OK + b"Content-Encoding: gzip\r\n", b"no gzip at all"),
    "no deflate": faults.answer(faults.OK + b"Content-Encoding: deflate\r\n", b"no deflate"),
    "an encoding of nobody's": faults.answer(faults.OK + b"Content-Encoding: rot13\r\n", b"{"),
    "invalid UTF-8": faults.answer(faults.OK, b'{"execution_id": "\xff"}'),
    "JSON that is too deep": faults.answer(faults.OK, b"[" * 100_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_broken_is_our_error(name):
    server = faults.RawServer(lambda _: [BROKEN[name], None])
    client = PlatformClient(server.url, "t-1", "o", "w", timeout=20, max_attempts=1)
    with server, client, pytest.raises(flow_client.PlatformClientError) as caught:
        client.get_execution_status("e-1")
    assert isinstance(caught.value, (flow_client.PlatformConnectionError, flow_client.PlatformResponseError))
    assert getattr(caught.value, "request_sent", True) is True
    assert len(str(caught.value)) < 1000


def test_after_a_broken_body_the_connection_is_not_used_again():
    server = faults.RawServer(lambda number: [BROKEN["a chunk without a size"] if number == 2 else faults.answer()])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_attempts=1) as client:
        client.get_execution_status("e-1")
        with pytest.raises(flow_client.PlatformConnectionError):
            client.get_execution_status("e-1")
        assert client.get_execution_status("e-1").status == "completed"
    assert server.connections == 2


def test_after_an_answer_that_was_too_large_the_connection_is_not_used_again():
    large = faults.answer(body=b'"' + b"x" * 5000 + b'"')
    server = faults.RawServer(lambda number: [large if number == 1 else faults.answer()])
    with server, PlatformClient(server.url, "t-1", "o", "w", max_answer_bytes=1000) as client:
        with pytest.raises(flow_client.PlatformResponseError, match="more than 1000 bytes"):
            client.get_execution_status("e-1")
        assert client.get_execution_status("e-1").status == "completed"
    assert server.connections == 2


def test_after_a_deadline_the_late_answer_is_not_taken_for_the_next_ones():
    late = [faults.answer(body=b'{"execution_id": "e-1", "status": "late"}')]

    def pieces(number):
        return [b"", b"", b"", *late] if number == 1 else [faults.answer()]

    server = faults.RawServer(pieces, pace=0.2)
    with server, PlatformClient(server.url, "t-1", "o", "w", timeout=0.3) as hasty:
        with pytest.raises(flow_client.PlatformTimeoutError):
            hasty.get_execution_status("e-1")
        assert hasty.get_execution_status("e-1").status == "completed"
