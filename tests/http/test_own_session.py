"""`PlatformClient(session=…)`: what of a caller's session is used, and what never is."""

import os
import time
from io import BytesIO

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from support import faults
from support.http import Answer

import flow_client
from flow_client import PlatformClient

RECORD = b'{"execution_id": "e-1", "status": "completed"}'


class Answering(BaseAdapter):
    """An adapter that knows nothing of urllib3: it answers from memory."""

    def __init__(self, body=RECORD, takes=0.0):
        super().__init__()
        self.body, self.takes = body, takes
        self.sends = []
        self.closed = False

    def send(self, request, **options):
        self.sends.append((request, options))
        time.sleep(self.takes)
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.raw = BytesIO(self.body)
        return response

    def close(self):
        self.closed = True


class Session(requests.Session):
    """A session that counts what is sent through it, as those that limit or trace requests do."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def send(self, request, **options):
        self.sent.append(request.url)
        return super().send(request, **options)


@pytest.fixture
def session():
    with Session() as session:
        yield session


@pytest.fixture
def own(make_client, session):
    """A client that sends through `session`."""
    return make_client(session=session)


def test_requests_go_through_the_sessions_own_send_and_adapters(own, session):
    adapter = Answering()
    session.mount("http://127.0.0.1", adapter)
    assert own.get_execution_status("e-1").status == "completed"
    request, options = adapter.sends[0]
    assert session.sent == [request.url]
    assert request.headers["Authorization"] == "Bearer t-1"
    assert 0 < options["timeout"] <= 300


def test_headers_params_and_hooks_are_honoured_and_our_headers_win(own, session, http_server):
    seen = []
    http_server.handle = lambda _: Answer(200, {"execution_id": "e-1", "status": "completed"})
    session.headers.update({"X-Team": "blue", "accept": "text/html", "X-Nothing": None})
    session.params = {"api-version": "2"}
    session.hooks["response"].append(lambda response, **_: seen.append(response.json()["status"]))
    assert own.get_execution_status("e-1").status == "completed"
    received = http_server.received[0]
    assert received.headers["X-Team"] == "blue"
    assert [value for name, value in received.headers.items() if name.lower() == "accept"] == ["application/json"]
    assert received.headers["User-Agent"].startswith("flow-client/")
    assert "X-Nothing" not in received.headers
    assert received.path.endswith("/executions/e-1?api-version=2")
    assert seen == ["completed"]


def test_auth_cookies_and_netrc_never_come_in_place_of_the_token(own, session, http_server, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session.auth = ("user", "password")
    session.headers["authorization"] = "Basic x"
    session.cookies.set("a", "b")
    own.get_execution_status("e-1")
    headers = http_server.received[0].headers
    assert [value for name, value in headers.items() if name.lower() == "authorization"] == ["Bearer t-1"]
    assert "Cookie" not in headers


@pytest.mark.parametrize("of_the_caller", [False, True])
def test_redirects_are_not_followed(make_client, session, http_server, of_the_caller):
    http_server.default = Answer(302, {}, {"Location": f"{http_server.url}/elsewhere"})
    client = make_client(session=session if of_the_caller else None)
    with pytest.raises(flow_client.PlatformStatusError, match="redirects are not followed"):
        client.submit_workflow_execution("wf-1", {}, ring_id="r")
    assert len(http_server.received) == 1


def test_the_sessions_proxies_are_used(make_client, session, http_server):
    session.proxies = {"http": http_server.url}
    make_client(base_url="http://platform.invalid", session=session).get_execution_status("e-1")
    assert http_server.received[0].path.startswith("http://platform.invalid/")


def test_a_bundle_of_the_session_wins_over_the_environment(make_client, session, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "environment.pem"))
    session.verify = str(tmp_path / "session.pem")
    with pytest.raises(flow_client.ConfigurationError, match=r"session\.pem"):
        make_client(base_url="https://127.0.0.1:9", session=session).get_execution_status("e-1")


def test_a_session_of_the_callers_stays_open():
    session, adapter = requests.Session(), Answering()
    session.mount("http://", adapter)
    with PlatformClient("http://platform.test", "t-1", "o", "w", session=session) as client:
        client.get_execution_status("e-1")
    assert not adapter.closed
    assert session.get("http://platform.test").content == RECORD
    with pytest.raises(flow_client.ClientClosedError):
        client.get_execution_status("e-1")


def test_what_is_no_session_is_refused():
    with pytest.raises(flow_client.ConfigurationError, match=r"session is dict; it must be a requests\.Session"):
        PlatformClient("http://platform.test", "t-1", "o", "w", session={})


def test_a_copy_sends_through_the_same_session(own, session):
    own.with_options(timeout=5).get_execution_status("e-1")
    assert len(session.sent) == 1


def test_an_adapter_that_takes_too_long_is_a_timeout(own, session):
    session.mount("http://", Answering(takes=0.2))
    with pytest.raises(flow_client.PlatformTimeoutError) as caught:
        own.with_options(timeout=0.1).submit_workflow_execution("wf-1", {}, ring_id="r")
    assert caught.value.request_sent is True


def test_an_adapter_of_requests_own_ends_at_the_deadline(make_client, session):
    with faults.silent() as server, pytest.raises(flow_client.PlatformTimeoutError) as caught:
        make_client(base_url=server.url, session=session, timeout=0.3).get_execution_status("e-1")
    assert caught.value.request_sent is True


def test_an_adapter_of_requests_own_that_finds_nobody_has_sent_nothing(make_client, session):
    with faults.silent() as server:
        url = server.url
    with pytest.raises(flow_client.PlatformConnectionError, match="cannot connect") as caught:
        make_client(base_url=url, session=session, max_attempts=1).get_execution_status("e-1")
    assert (caught.value.request_sent, caught.value.stage) == (False, "connect")


def test_an_answer_of_any_adapter_is_limited_in_size(make_client, session):
    session.mount("http://", Answering(body=b" " * 2000))
    with pytest.raises(flow_client.PlatformResponseError, match="more than 1000 bytes"):
        make_client(session=session, max_answer_bytes=1000).get_execution_status("e-1")


def test_a_child_has_connections_of_its_own(make_client, session, http_server):
    adapter = HTTPAdapter()
    session.mount("http://", adapter)
    client, pools = make_client(session=session), adapter.poolmanager
    client.get_execution_status("e-1")
    child = os.fork()
    if child == 0:
        fresh = adapter.poolmanager is not pools and session.get_adapter("http://x") is adapter
        os._exit(0 if fresh and client.get_execution_status("e-1").status == "completed" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert adapter.poolmanager is pools
    assert client.get_execution_status("e-1").status == "completed"
