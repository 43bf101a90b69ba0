"""The tools that users of requests test with intercept our calls, and no token is in what they keep."""

import gc
import re
import socket
import subprocess
import sys

import pytest
import requests
import requests_mock
import responses
import vcr
from support import faults
from support.http import Answer
from vcr.errors import CannotOverwriteExistingCassetteException

import flow_client
from flow_client import PlatformClient

URL = "http://platform.test"
STATUS = f"{URL}/api/v1/orgs/o/workspaces/w/executions/e-1"
SUBMIT = f"{URL}/api/v1/orgs/o/workspaces/w/workflows/wf-1/executions"
RECORD = {"execution_id": "e-1", "status": "completed", "output": 7}
ACCEPTED = {"execution_id": "e-1", "status": "pending"}
CANARY = "canary-7f3a91"


@pytest.fixture
def mocked():
    """A client of a platform that is nowhere."""
    with PlatformClient(URL, CANARY, "o", "w", ring_id="r", max_attempts=1) as client:
        yield client


@pytest.fixture
def _no_network(monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"the network is used: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
def test_the_guard_of_these_tests_sees_a_connection(mocked):
    with pytest.raises(AssertionError, match="the network is used"):
        mocked.get_execution_status("e-1")


@pytest.mark.usefixtures("_no_network")
def test_responses_answers(mocked):
    with responses.RequestsMock() as mock:
        mock.post(SUBMIT, json=ACCEPTED, status=202)
        mock.get(STATUS, json=RECORD)
        handle = mocked.submit_workflow_execution("wf-1", {"a": 1})
        assert handle.status().output == 7
        sent = mock.calls[0].request
    assert sent.headers["Authorization"] == f"Bearer {CANARY}"
    assert CANARY not in f"{sent.headers}{sent.headers['Authorization']}"
    assert sent.headers["Idempotency-Key"] == handle.idempotency_key


@pytest.mark.usefixtures("_no_network")
def test_responses_matches_the_token_in_a_header(mocked):
    right, wrong = (
        responses.matchers.header_matcher({"Authorization": f"Bearer {token}"}) for token in (CANARY, "other")
    )
    with responses.RequestsMock() as mock:
        mock.get(STATUS, json={**RECORD, "output": 8}, match=[right])
        assert mocked.get_execution_status("e-1").output == 8
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(STATUS, json=RECORD, match=[wrong])
        with pytest.raises(flow_client.PlatformConnectionError, match="Headers do not match"):
            mocked.get_execution_status("e-1")


@pytest.mark.usefixtures("_no_network")
def test_requests_mock_answers(mocked):
    with requests_mock.Mocker() as mock:
        mock.post(SUBMIT, json=ACCEPTED, status_code=202)
        mock.get(STATUS, json=RECORD, request_headers={"Authorization": f"Bearer {CANARY}"})
        assert mocked.submit_workflow_execution("wf-1", {"a": 1}).status().output == 7
        assert mock.request_history[0].json()["input_data"] == {"a": 1}
        assert CANARY not in str(mock.last_request.headers)


@pytest.mark.usefixtures("_no_network")
def test_requests_mock_refuses_what_it_does_not_know(mocked):
    with requests_mock.Mocker(), pytest.raises(requests_mock.NoMockAddress, match=f"GET {STATUS}"):
        mocked.get_execution_status("e-1")


@pytest.mark.usefixtures("_no_network")
def test_requests_mock_of_one_session_and_as_its_adapter():
    session, mounted = requests.Session(), requests.Session()
    adapter = requests_mock.Adapter()
    adapter.register_uri("GET", STATUS, json={**RECORD, "output": "mounted"})
    mounted.mount("http://", adapter)
    with PlatformClient(URL, "t-1", "o", "w", session=mounted) as client:
        assert client.get_execution_status("e-1").output == "mounted"
    with PlatformClient(URL, "t-1", "o", "w", session=session) as client, requests_mock.Mocker(session=session) as mock:
        mock.get(STATUS, json=RECORD)
        assert client.get_execution_status("e-1").output == 7


def test_after_a_mock_the_platform_is_asked_again(client, http_server):
    with requests_mock.Mocker() as mock:
        mock.get(requests_mock.ANY, json={**RECORD, "status": "mocked"})
        assert client.get_execution_status("e-1").status == "mocked"
    with responses.RequestsMock() as mock:
        mock.get(re.compile(".*"), json={**RECORD, "status": "mocked"})
        assert client.get_execution_status("e-1").status == "mocked"
    assert http_server.received == []
    assert client.get_execution_status("e-1").status == "completed"
    assert len(http_server.received) == 1


def test_requests_mock_lets_through_what_it_is_told_to(client, http_server):
    with requests_mock.Mocker(real_http=True):
        assert client.get_execution_status("e-1").status == "completed"
    assert http_server.received[0].headers["Authorization"] == "Bearer t-1"


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize(
    ("raised", "request_sent", "stage"),
    [
        (requests.ConnectionError("x"), True, "answer"),
        (requests.ReadTimeout("x"), True, "answer"),
        (requests.ConnectTimeout("x"), False, "connect"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_mocked_failure_says_whether_the_request_may_have_arrived(mocked, raised, request_sent, stage):
    with responses.RequestsMock() as mock:
        mock.post(SUBMIT, body=raised)
        with pytest.raises(flow_client.PlatformConnectionError) as by_responses:
            mocked.submit_workflow_execution("wf-1", {})
    with requests_mock.Mocker() as mock:
        mock.post(SUBMIT, exc=raised)
        with pytest.raises(flow_client.PlatformConnectionError) as by_requests_mock:
            mocked.submit_workflow_execution("wf-1", {})
    for caught in (by_responses, by_requests_mock):
        assert (caught.value.request_sent, caught.value.stage) == (request_sent, stage)


def record_and_replay(client, http_server, path, **options):
    """Return what the client says while a cassette is recorded, and while it is played."""

    def said():
        handle = client.submit_workflow_execution("wf-1", {"a": 1}, ring_id="r", idempotency_key="k")
        return handle.accepted.to_dict(), client.get_execution_status("e-1").to_dict()

    http_server.queue(Answer(202, ACCEPTED))
    with vcr.use_cassette(str(path), **options):
        recorded = said()
    assert len(http_server.received) == 2
    with vcr.use_cassette(str(path), record_mode="none", **options) as cassette:
        played = said()
    assert cassette.all_played
    assert len(http_server.received) == 2
    return recorded, played


# Before version 9 vcrpy drops a warm connection without closing it; those are for Python 3.10.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("serializer", ["yaml", "json"])
@pytest.mark.parametrize("warm", [False, True])
def test_vcr_records_and_plays_and_its_cassette_holds_no_token(make_client, http_server, tmp_path, serializer, warm):
    client = make_client(auth_token=CANARY)
    if warm:
        client.get_execution_status("e-1")
        http_server.received.clear()
    recorded, played = record_and_replay(client, http_server, tmp_path / "cassette", serializer=serializer)
    assert recorded == played
    assert recorded[1]["status"] == "completed"
    assert [each.headers["Authorization"] for each in http_server.received] == [f"Bearer {CANARY}"] * 2
    cassette = (tmp_path / "cassette").read_text()
    assert CANARY not in cassette
    assert "Bearer *****" in cassette
    gc.collect()


def test_vcr_matches_headers_between_recording_and_playing(client, http_server, tmp_path):
    match = ["method", "uri", "headers"]
    recorded, played = record_and_replay(client, http_server, tmp_path / "cassette.yaml", match_on=match)
    assert recorded == played


def test_a_request_that_a_cassette_does_not_know_passes_through_as_its_own_error(client, http_server, tmp_path):
    with (
        vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode="none"),
        pytest.raises(CannotOverwriteExistingCassetteException),
    ):
        client.get_execution_status("e-1")
    assert http_server.received == []


def test_after_a_cassette_our_own_connections_keep_the_deadline_again(tmp_path):
    with faults.dripping_head() as server, PlatformClient(server.url, "t-1", "o", "w", timeout=0.3) as client:
        with (
            vcr.use_cassette(str(tmp_path / "cassette.yaml"), record_mode="none"),
            pytest.raises(CannotOverwriteExistingCassetteException),
        ):
            client.get_execution_status("e-1")
        with pytest.raises(flow_client.PlatformTimeoutError) as caught:
            client.get_execution_status("e-1")
    assert (caught.value.stage, caught.value.request_sent) == ("answer", True)


IN_A_CASSETTE = """
import sys, vcr
with vcr.use_cassette(sys.argv[2]):
    from flow_client import PlatformClient
    with PlatformClient(sys.argv[1], "t-1", "o", "w") as client:
        client.get_execution_status("e-1")
with PlatformClient(sys.argv[1], "t-1", "o", "w") as client:
    client.get_execution_status("e-1")
from flow_client._http import connections
assert not [kind for kind in connections._BoundedTLSConnection.__mro__ if "vcr" in kind.__module__]
"""


def test_a_client_that_is_imported_within_a_cassette_is_recorded_and_no_longer_after_it(http_server, tmp_path):
    path = tmp_path / "cassette.yaml"
    subprocess.run([sys.executable, "-W", "error", "-c", IN_A_CASSETTE, http_server.url, path], check=True, timeout=60)
    assert len(http_server.received) == 2
    assert path.read_text().count("uri:") == 1
