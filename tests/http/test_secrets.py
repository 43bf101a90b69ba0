"""A marked token is in no log, repr, error, pickle or traceback, however a call fails."""

import contextlib
import copy
import http.client
import logging
import pickle
import traceback

import pytest
from support import faults
from support.http import Answer

import flow_client
from flow_client import PlatformClient

TOKEN = "canary-7f3a91"
RENEWED = "canary-renewed"
CANARY = "canary"
DEPTH = 6


def shown(value, depth=DEPTH, seen=None):
    """Yield the repr and str of `value` and of whatever is reached from it."""
    seen = set() if seen is None else seen
    if depth == 0 or id(value) in seen:
        return
    seen.add(id(value))
    yield repr(value)
    with contextlib.suppress(Exception):
        yield str(value)
    parts = list(getattr(value, "__dict__", {}).values())
    parts += list(value.values()) if isinstance(value, dict) else []
    parts += list(value) if isinstance(value, (list, tuple, set, frozenset)) else []
    for part in parts:
        yield from shown(part, depth - 1, seen)


def reported(error):
    """Return what a tracker would store: every frame of the error and of its causes, with the local variables.

    The test's own frames hold the token in the open, as a caller's may.
    """
    pending, text = [error], []
    while pending:
        each = pending.pop()
        text.append(f"{each!r} {each}")
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename != __file__:
                text += [f"{name}: {_safe_repr(value)}" for name, value in frame.f_locals.items()]
        pending += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
    return "\n".join(text)


def _safe_repr(value):
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - an object that is not yet complete
        return f"no repr: {error}"


def error_after(server, answer, call, **options):
    """Return what calling the server with `answer` raised."""
    server.default = answer
    with (
        PlatformClient(server.url, TOKEN, "o", "w", max_attempts=1, **options) as client,
        pytest.raises(flow_client.PlatformClientError) as caught,
    ):
        call(client)
    return caught.value


def status(client):
    return client.get_execution_status("e-1")


def submit(client):
    return client.submit_workflow_execution("wf-1", {"a": 1}, ring_id="r-1")


def statuses(server):
    renewed = {"X-Auth-Token": RENEWED}
    for code in (302, 400, 401, 404, 409, 422, 429, 500, 503):
        yield error_after(server, Answer(code, {"detail": "x"}, renewed), submit)


def bodies(server):
    renewed = {"X-Auth-Token": RENEWED}
    for body in (b"<html>", b"[]", b"", {"status": 7}):
        yield error_after(server, Answer(200, body, renewed), status)
    yield error_after(server, Answer(200, b"x" * 100, renewed), status, max_answer_bytes=9)
    yield error_after(server, Answer(200, b"x", {**renewed, "Content-Encoding": "gzip"}), status)


def requests_that_cannot_be_sent(server):
    yield error_after(server, Answer(), lambda client: client.get_execution_status("no/id"))
    yield error_after(
        server, Answer(), lambda client: client.submit_workflow_execution("w", {"a": float("nan")}, ring_id="r")
    )
    yield error_after(server, Answer(), lambda client: client.submit_workflow_execution("w", [1], ring_id="r"))
    client = PlatformClient(server.url, TOKEN, "o", "w")
    client.close()
    with pytest.raises(flow_client.ClientClosedError) as caught:
        status(client)
    yield caught.value


def connections(_server):
    with faults.silent() as server:
        gone = server.url
    cut = faults.OK + b"X-Auth-Token: " + RENEWED.encode() + b"\r\nContent-Length: 99\r\n\r\nx"
    servers = [faults.silent(), faults.FullBacklog(), *(faults.RawServer(lambda _: [cut, None]) for _ in "12")]
    for server, call in zip(servers, (status, submit, status, submit), strict=True):
        with server:
            yield error_at(server.url, call, timeout=0.3)
            yield error_at(server.url.replace("http:", "https:"), call, timeout=0.3)
    yield error_at(gone, submit)
    yield error_at("http://no-such-host.invalid", submit)
    with faults.RawServer(lambda _: []) as server:
        server._serve = lambda connection: (server._stop.wait(10), connection.close())
        yield error_at(
            server.url, lambda c: c.submit_workflow_execution("w", {"a": "x" * 20_000_000}, ring_id="r"), timeout=0.3
        )


def error_at(url, call, **options):
    with (
        PlatformClient(url, TOKEN, "o", "w", max_attempts=1, **options) as client,
        pytest.raises(flow_client.PlatformClientError) as caught,
    ):
        call(client)
    return caught.value


def tokens(server):
    """Token functions that raise, and what they return is refused."""
    server.default = Answer(401, {"detail": "expired"})
    for answers in ([TOKEN, RENEWED], [TOKEN, RuntimeError("no token today")]):
        turns = iter(answers)

        def source(turns=turns):
            turn = next(turns)
            if isinstance(turn, Exception):
                raise turn
            return turn

        with PlatformClient(server.url, source, "o", "w") as client:
            with pytest.raises((flow_client.PlatformClientError, RuntimeError)) as caught:
                submit(client)
            yield caught.value


def constructors(_server):
    for arguments in ({"base_url": "no url"}, {"timeout": -1}, {"max_attempts": 0}, {"base_url": None}):
        with pytest.raises(flow_client.ConfigurationError) as caught:
            PlatformClient(**{"base_url": "http://h", "auth_token": TOKEN, **arguments})
        yield caught.value


GROUPS = (statuses, bodies, requests_that_cannot_be_sent, connections, tokens, constructors)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_no_error_shows_the_token_in_its_message_its_parts_its_pickle_or_its_traceback(http_server, group):
    for error in group(http_server):
        assert CANARY not in reported(error), error
        assert CANARY not in "".join(shown(error)), error
        packed = pickle.dumps(error)
        assert CANARY.encode() not in packed
        assert str(pickle.loads(packed)) == str(error)
        assert vars(pickle.loads(packed)).keys() == vars(error).keys()


def test_the_report_of_these_tests_would_show_a_token_in_a_frame():
    http_client = http.client.HTTPConnection("127.0.0.1", 9)
    with pytest.raises(ConnectionRefusedError) as caught:
        http_client.request("GET", "/", headers={"Authorization": TOKEN})
    assert CANARY in reported(caught.value)


@pytest.mark.parametrize("how", ["argument", "variable", "function"])
def test_a_token_that_is_refused_is_not_shown(monkeypatch, how):
    bad = f"{TOKEN} with spaces"
    monkeypatch.setenv("AUTH_TOKEN", bad if how == "variable" else "")
    auth_token = {"argument": bad, "variable": None, "function": lambda: bad}[how]
    with pytest.raises(flow_client.ConfigurationError) as caught:
        PlatformClient("http://h", auth_token)
    assert CANARY not in reported(caught.value)


def test_a_client_shows_its_token_nowhere(http_server):
    http_server.default = Answer(200, {"execution_id": "e-1", "status": "x"}, {"X-Auth-Token": RENEWED})
    with PlatformClient(http_server.url, TOKEN, "o", "w") as client:
        before = "".join(shown(client))
        status(client)
        handle = client.execution("e-1")
        assert CANARY not in before + "".join(shown(client)) + "".join(shown(handle))
    assert "TokenStore" in before


def test_no_logger_says_the_token_at_any_level(http_server, caplog, capfd, monkeypatch):
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    http_server.queue(Answer(503, {}, {"X-Auth-Token": RENEWED}), Answer(200, b"<"), Answer(401, {}))
    with caplog.at_level(0), PlatformClient(http_server.url, TOKEN, "o", "w", timeout=20) as client:
        for _ in range(2):
            with pytest.raises(flow_client.PlatformClientError):
                submit(client)
    with caplog.at_level(0), faults.RawServer(lambda _: [None]) as server:
        error_at(server.url, submit)
    assert {"flow_client", "urllib3.connectionpool"} <= {record.name for record in caplog.records}
    assert CANARY not in caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert CANARY not in "".join(capfd.readouterr())
    sent = [request.headers["Authorization"] for request in http_server.received]
    assert sent[0] == f"Bearer {TOKEN}"
    assert sent[-1] == f"Bearer {RENEWED}"


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_pickled_and_says_why(client, copied):
    if copied is copy.copy:
        copied = lambda each: copy.copy(each._transport)  # noqa: E731 - a shallow copy shares the transport
    with pytest.raises(TypeError, match="not pickled: create"):
        copied(client)


@pytest.mark.parametrize("renewed", ["two words", "a\u00e4", ""])
def test_a_renewed_token_that_cannot_be_used_leaves_the_request_a_success(client, http_server, caplog, renewed):
    http_server.queue(Answer(200, {"execution_id": "e-1", "status": "x"}, {"X-Auth-Token": renewed}))
    assert status(client).status == "x"
    status(client)
    assert http_server.received[1].headers["Authorization"] == "Bearer t-1"
    assert [record.levelno for record in caplog.records] == ([logging.WARNING] if renewed else [])
    assert not renewed or renewed not in caplog.text
