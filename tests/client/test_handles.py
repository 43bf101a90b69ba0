"""Handles that leave their client, records that are asked to have completed, and clients with other limits."""

import gc
import json
import pickle
import threading
import time

import pytest
from support.http import Answer

import flow_client
from flow_client import ExecutionHandle, PlatformClient

E1 = "e-1"
ACCEPTED = Answer(202, {"execution_id": E1, "status": "pending", "queue": 7})
CANARY = "canary-7f3a"


def submit(client, **options):
    return client.submit_code_block_execution("cb-1", {"a": 1}, ring_id="r-1", **options)


@pytest.fixture
def handle(make_client, http_server):
    http_server.queue(ACCEPTED)
    return submit(make_client(auth_token=CANARY), idempotency_key="mine")


@pytest.mark.parametrize(
    "travel",
    [
        lambda handle: pickle.loads(pickle.dumps(handle)),
        lambda handle: ExecutionHandle.from_dict(json.loads(json.dumps(handle.to_dict()))),
    ],
    ids=["pickle", "JSON"],
)
def test_a_handle_travels_with_what_names_its_execution_and_is_attached_again(handle, travel, client, http_server):
    travelled = travel(handle)
    assert (travelled.execution_id, travelled.idempotency_key) == (E1, "mine")
    assert (travelled.accepted, travelled.accepted.queue) == (handle.accepted, 7)
    assert (travelled.base_url, travelled.org_id, travelled.workspace_id) == (http_server.url, "org-1", "ws-1")
    assert repr(travelled) == "ExecutionHandle('e-1', detached)"
    assert travelled.attach(client) is travelled
    assert travelled.wait(timeout=30).status == "completed"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_form_of_a_handle_has_the_token(handle, protocol):
    assert CANARY.encode() not in pickle.dumps(handle, protocol)
    assert CANARY not in json.dumps(handle.to_dict()) + repr(handle)


def test_a_handle_in_a_notebook_shows_the_status_that_it_saw_last_and_asks_for_none(handle, http_server):
    http_server.queue(Answer(200, {"execution_id": E1, "status": "running"}))
    shown = []
    for ask in (lambda: None, handle.status, handle.wait):
        ask()
        sent = len(http_server.received)
        shown.append(handle._repr_html_())
        assert len(http_server.received) == sent
    for html, status in zip(shown, ("pending", "running", "completed"), strict=True):
        assert f">{status}</span>" in html
        assert CANARY not in html
    assert ["when submitted" in html for html in shown] == [True, False, False]


@pytest.mark.parametrize("ask", ["status", "wait", "result", "future", "cancel", "events"])
def test_a_detached_handle_says_how_it_is_attached(handle, ask):
    detached = pickle.loads(pickle.dumps(handle))
    with pytest.raises(flow_client.ClientClosedError, match=r"handle\.attach\(client\).*client\.execution\('e-1'\)"):
        getattr(detached, ask)()


def test_a_handle_is_not_attached_to_another_organisation_or_workspace(handle, make_client):
    for other in ({"org_id": "org-2"}, {"workspace_id": "ws-2"}):
        with pytest.raises(flow_client.InvalidRequestError, match="of organisation and workspace"):
            handle.attach(make_client(**other))


@pytest.mark.parametrize("fields", [{"base_url": "http://x"}, {"execution_id": 5}, '{"execution_id": "x"}', None])
def test_fields_that_name_no_execution_are_refused(fields):
    with pytest.raises(flow_client.InvalidRequestError, match="no execution_id"):
        ExecutionHandle.from_dict(fields)


def test_the_events_of_a_handle_need_nats(client):
    with pytest.raises(flow_client.ConfigurationError, match="NATS_URL"):
        client.execution(E1).events()


EXECUTE = {
    "execute_code_block": lambda client, **options: client.execute_code_block("cb-1", {}, None, **options),
    "execute_workflow": lambda client, **options: client.execute_workflow("wf-1", {}, **options),
    "execute_agent": lambda client, **options: client.execute_agent("a-1", {}, None, "isolated", **options),
}


@pytest.mark.parametrize("execute", EXECUTE.values(), ids=EXECUTE)
@pytest.mark.parametrize("status", ["failed", "TIMEOUT", "dead_letter", "Cancelled"])
def test_with_check_what_did_not_complete_is_an_error(client, http_server, execute, status):
    http_server.queue(ACCEPTED, Answer(200, {"execution_id": E1, "status": status, "error": "boom"}))
    with pytest.raises(flow_client.PlatformExecutionError, match=f"ended as '{status}': boom") as caught:
        execute(client, ring_id="r-1", check=True, idempotency_key="mine")
    assert (caught.value.record.status, caught.value.idempotency_key) == (status, "mine")


@pytest.mark.parametrize("execute", EXECUTE.values(), ids=EXECUTE)
def test_with_check_what_completed_is_returned(client, http_server, execute):
    http_server.queue(ACCEPTED)
    assert execute(client, ring_id="r-1", check=True).is_completed


def test_a_record_that_has_not_ended_has_not_completed(client, http_server):
    http_server.queue(Answer(200, {"execution_id": E1, "status": "running"}))
    with pytest.raises(flow_client.PlatformExecutionError, match="has not ended: 'running'"):
        client.get_execution_status(E1).raise_for_status()
    assert client.get_execution_status(E1).raise_for_status().status == "completed"


def test_the_error_of_a_record_says_what_went_wrong_and_leaves_the_traceback_on_the_record(client, http_server):
    error = {"type": "KeyError", "message": "'text'", "traceback": "Traceback (most recent call last):"}
    http_server.queue(Answer(200, {"execution_id": E1, "status": "failed", "error": error}))
    with pytest.raises(flow_client.PlatformExecutionError) as caught:
        client.get_execution_status(E1).raise_for_status()
    assert str(caught.value) == "execution e-1 ended as 'failed': KeyError: 'text'"
    assert caught.value.record.error == error


def test_a_copy_with_other_limits_keeps_to_them(client, http_server):
    hung = threading.Event()
    http_server.handle = lambda _: hung.wait(60) and Answer(503, {})
    hasty = client.with_options(timeout=0.2, max_attempts=1)
    started = time.monotonic()
    with pytest.raises(flow_client.PlatformTimeoutError):
        hasty.get_execution_status(E1)
    assert time.monotonic() - started < 30
    hung.set()
    with pytest.raises(flow_client.PlatformServerError) as caught:
        client.with_options(max_attempts=2).get_execution_status(E1)
    assert caught.value.attempts == 2
    assert (client.settings.timeout, client.settings.max_attempts) == (300, 3)
    assert (hasty.settings.timeout, hasty.settings.max_attempts) == (0.2, 1)


def test_a_copy_shares_connections_tokens_and_retry_budget(make_client, http_server):
    tokens = iter(["t-1", "t-2"])
    client = make_client(auth_token=lambda: next(tokens))
    copy = client.with_options(timeout=5)
    http_server.queue(Answer(401, {}))
    copy.get_execution_status(E1)
    client.get_execution_status(E1)
    assert [r.headers["Authorization"] for r in http_server.received][1:] == ["Bearer t-2"] * 2
    assert copy._transport._session is client._transport._session
    assert copy._transport._retrier is client._transport._retrier


def test_a_closed_copy_leaves_its_original_open_and_a_closed_original_closes_its_copies(client):
    first, second = client.with_options(timeout=5), client.with_options(timeout=5)
    first.close()
    with pytest.raises(flow_client.ClientClosedError):
        first.get_execution_status(E1)
    assert client.get_execution_status(E1).status == second.get_execution_status(E1).status == "completed"
    client.close()
    for call in (lambda: second.get_execution_status(E1), second.with_options):
        with pytest.raises(flow_client.ClientClosedError):
            call()


def test_copies_of_copies_are_no_chain(client):
    copy = client
    for _ in range(10_000):
        copy = copy.with_options(timeout=5)
    assert copy.get_execution_status(E1).status == "completed"
    gc.collect()
    assert sum(isinstance(each, PlatformClient) for each in gc.get_objects()) < 10
    copy.close()
    client.close()


def test_a_copy_is_of_its_originals_class(http_server):
    class OurClient(PlatformClient):
        def __init__(self, team):
            super().__init__(http_server.url, "t-1", "org-1", "ws-1")
            self.team = team

    with OurClient("red") as client:
        assert client.with_options(timeout=5).team == "red"


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "soon"}, {"max_attempts": 0}])
def test_unusable_limits_are_refused(client, options):
    with pytest.raises(flow_client.ConfigurationError, match=next(iter(options))):
        client.with_options(**options)
