"""The client against a real HTTP server that answers as it is told."""

import dataclasses
import json
import logging
import platform
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from support.http import Answer

import flow_client
from flow_client import PlatformClient
from flow_client._nats import payloads

E1 = "e-1"
DONE = Answer(200, {"execution_id": E1, "status": "completed"})
ACCEPTED = Answer(202, {"execution_id": E1, "status": "pending", "queue": 7})


def submit(client, **options):
    return client.submit_code_block_execution("cb-1", {"a": 1}, ring_id="r-1", **options)


def test_a_submission_returns_a_handle(client, http_server):
    http_server.queue(ACCEPTED)
    handle = submit(client)
    assert handle.execution_id == E1
    assert (handle.accepted.status, handle.accepted.queue) == ("pending", 7)
    assert handle.idempotency_key == http_server.received[0].headers["Idempotency-Key"]
    assert repr(handle) == "ExecutionHandle('e-1')"


def test_a_handle_waits_and_gives_the_output(client, http_server):
    handle = client.execution(E1)
    assert http_server.received == []
    http_server.queue(
        Answer(200, {"execution_id": E1, "status": "running"}),
        Answer(200, {"execution_id": E1, "status": "completed", "output": [1, 2]}),
    )
    assert handle.result(timeout=30) == [1, 2]
    assert handle.status().status == "completed"


@pytest.mark.parametrize("status", ["failed", "TIMEOUT", "dead_letter", "Cancelled"])
def test_the_result_of_what_did_not_complete_is_an_error_with_the_record(client, http_server, status):
    http_server.default = Answer(200, {"execution_id": E1, "status": status, "error": {"type": "ValueError"}})
    with pytest.raises(flow_client.PlatformExecutionError, match="ValueError") as caught:
        client.execution(E1).result(timeout=5)
    assert caught.value.record.status == status
    assert caught.value.execution_id == E1


def test_a_handle_cancels(client, http_server):
    http_server.queue(Answer(200, {"status": "cancelled"}))
    assert client.execution(E1).cancel().status == "cancelled"


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        (b"", {}),
        (b"null", {}),
        (b'{"status": 7, "asked_at": "now"}', {"status": 7, "asked_at": "now"}),
        (b'["ok"]', {"body": ["ok"]}),
        (b"Cancelling.", {"body": "Cancelling."}),
    ],
)
def test_a_cancellation_may_be_answered_with_anything(client, http_server, body, answered):
    http_server.queue(Answer(200, body))
    assert client.cancel_execution(E1).to_dict() == {"execution_id": None, "status": None, **answered}


STATUS_ERRORS = {
    400: flow_client.PlatformBadRequestError,
    401: flow_client.PlatformAuthenticationError,
    402: flow_client.PlatformStatusError,
    403: flow_client.PlatformPermissionError,
    404: flow_client.PlatformNotFoundError,
    409: flow_client.PlatformConflictError,
    422: flow_client.PlatformBadRequestError,
    429: flow_client.PlatformRateLimitError,
    500: flow_client.PlatformServerError,
    503: flow_client.PlatformServerError,
    599: flow_client.PlatformServerError,
}


@pytest.mark.parametrize("status", STATUS_ERRORS)
def test_an_error_status_is_an_error_that_says_what_it_knows(make_client, http_server, status):
    http_server.default = Answer(status, {"detail": "no luck"}, {"X-Request-Id": "req-9", "Retry-After": "3"})
    client = make_client(max_attempts=1)
    with pytest.raises(flow_client.PlatformStatusError, match=f"{status}: no luck") as caught:
        submit(client, idempotency_key="mine")
    error = caught.value
    assert type(error) is STATUS_ERRORS[status]
    assert (error.status_code, error.detail, error.request_id) == (status, "no luck", "req-9")
    assert (error.idempotency_key, error.attempts, error.retry_after) == ("mine", 1, 3.0)
    assert 0 < error.elapsed < 60


FASTAPI = [{"loc": ["body", "ring_id"], "msg": "Field required", "type": "missing"}]


@pytest.mark.parametrize(
    ("body", "detail", "shown"),
    [
        ({"detail": FASTAPI}, FASTAPI, "body.ring_id: Field required"),
        ({"detail": {"code": 7}}, {"code": 7}, "{'code': 7}"),
        ({"type": "about:blank", "title": "Bad", "status": 400, "detail": "too bad"}, "too bad", "too bad"),
        ({"type": "about:blank", "title": "Bad"}, "Bad", "Bad"),
        ({"oops": 1}, {"oops": 1}, "oops"),
        (b"upstream connect error", "upstream connect error", "upstream connect error"),
        (b"", None, "400"),
        (b"\xff\xfe", "\ufffd\ufffd", "400"),
    ],
)
def test_every_form_of_an_error_body_is_read(client, http_server, body, detail, shown):
    http_server.queue(Answer(400, body))
    with pytest.raises(flow_client.PlatformBadRequestError, match=shown) as caught:
        client.get_execution_status(E1)
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "not JSON"),
        (b"", "execution_id|valid"),
        (b"[]", "object|dictionary|valid"),
        ({"status": "running"}, "execution_id: Field required"),
        ({"execution_id": E1, "status": 7}, "status"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_an_error_and_is_not_retried(client, http_server, body, message):
    http_server.queue(Answer(200, body))
    with pytest.raises(flow_client.PlatformResponseError, match=message) as caught:
        client.get_execution_status(E1)
    assert caught.value.status_code == 200
    assert caught.value.execution_id == E1
    assert len(http_server.received) == 1


def test_skills_that_are_no_object_are_an_error(client, http_server):
    http_server.queue(Answer(200, [1]))
    with pytest.raises(flow_client.PlatformResponseError, match="not a JSON object"):
        client.get_service_skills("sv-1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(client, http_server, status):
    http_server.queue(Answer(status, b"", {"Location": f"{http_server.url}/elsewhere"}))
    with pytest.raises(flow_client.PlatformStatusError, match=r"redirects are not followed.*elsewhere"):
        submit(client)
    assert len(http_server.received) == 1


def test_every_attempt_of_a_call_has_the_same_key_and_body(client, http_server):
    http_server.queue(Answer(503, {"detail": "x"}), Answer(502, b"bad gateway"), ACCEPTED)
    handle = submit(client)
    keys = {request.headers["Idempotency-Key"] for request in http_server.received}
    assert keys == {handle.idempotency_key}
    assert len({request.body for request in http_server.received}) == 1
    assert len(http_server.received) == 3


def test_every_call_has_a_key_of_its_own_and_the_callers_key_wins(client, http_server):
    http_server.default = ACCEPTED
    submit(client)
    submit(client)
    submit(client, idempotency_key="order 7")
    first, second, third = (request.headers["Idempotency-Key"] for request in http_server.received)
    assert first != second
    assert third == "order 7"


@pytest.mark.parametrize("key", [" ", "a\nb", "ä", "x" * 256, 7])
def test_an_unusable_key_is_refused(client, http_server, key):
    with pytest.raises(flow_client.InvalidRequestError, match="idempotency_key"):
        submit(client, idempotency_key=key)
    assert http_server.received == []


def test_a_conflict_over_a_request_in_progress_is_waited_out(client, http_server):
    http_server.queue(Answer(409, {"detail": "request with this key is in progress"}), ACCEPTED)
    assert submit(client).execution_id == E1


def test_any_other_conflict_is_an_error_at_once(client, http_server):
    http_server.queue(Answer(409, {"detail": "it was deleted"}))
    with pytest.raises(flow_client.PlatformConflictError):
        submit(client)
    assert len(http_server.received) == 1


def test_nothing_was_sent_when_nobody_listens(make_client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}", timeout=5)
        with pytest.raises(flow_client.PlatformConnectionError, match="was not sent") as caught:
            submit(client)
    assert (caught.value.request_sent, caught.value.stage, caught.value.attempts) == (False, "connect", 3)
    assert caught.value.idempotency_key


BAD_BODIES = {
    "NaN": ({"a": [1, {"b": float("nan")}]}, r"input_parameters\.a\[1\]\.b is not a finite number"),
    "infinity": ({"a": float("inf")}, "finite"),
    "an object": ({"a": [1, object()]}, r"input_parameters\.a\[1\] is an object, which has no JSON form"),
    "a generator": ({"a": (n for n in [1])}, r"input_parameters\.a is a generator"),
    "a lone surrogate": ({"a": "\ud800"}, r"input_parameters\.a has the lone surrogate"),
    "a function": (len, "input_parameters is a builtin_function_or_method, which has no JSON form"),
    "a list": ([1], "input_parameters"),
    "none": (None, "input_parameters"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_cannot_be_sent_is_refused(client, http_server, name):
    value, message = BAD_BODIES[name]
    with pytest.raises(flow_client.InvalidRequestError, match=message):
        client.submit_code_block_execution("cb-1", value, ring_id="r-1")
    assert http_server.received == []


@dataclasses.dataclass
class Parameters:
    table: pd.DataFrame
    units: np.ndarray
    more: dict


PARAMETERS = Parameters(pd.DataFrame({"n": [1]}), np.arange(2), {None: 1, 2: {"b", "a"}})


@pytest.mark.parametrize("value", [PARAMETERS, dataclasses.asdict(PARAMETERS)], ids=["dataclass", "dict"])
def test_a_value_is_sent_over_http_as_over_nats(client, http_server, value):
    http_server.queue(ACCEPTED)
    client.submit_code_block_execution("cb-1", value, ring_id="r-1")
    sent = http_server.received[0].json["input_parameters"]
    assert sent == {"table": [{"n": 1}], "units": [0, 1], "more": {"null": 1, "2": ["a", "b"]}}
    assert json.loads(payloads.output(E1, None, value))["output"] == sent


def test_the_keys_of_an_input_are_text_in_json_as_over_nats(client, http_server):
    value = {None: 1, 2: "b", True: "c", uuid.UUID(int=1): "d"}
    http_server.queue(ACCEPTED)
    client.submit_code_block_execution("cb-1", value, ring_id="r-1")
    sent = http_server.received[0].json["input_parameters"]
    assert sent == {"null": 1, "2": "b", "true": "c", "00000000-0000-0000-0000-000000000001": "d"}
    assert json.loads(payloads.output(E1, None, value))["output"] == sent


def test_two_keys_of_an_input_that_are_one_in_json_are_refused(client, http_server):
    with pytest.raises(flow_client.InvalidRequestError, match="input_parameters has two keys that are '1' in JSON"):
        client.submit_code_block_execution("cb-1", {1: "a", "1": "b"}, ring_id="r-1")
    assert http_server.received == []


def _nested(levels):
    value = "\ud83d"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["bare", "byte order mark"])
def test_an_answer_that_python_reads_is_read(client, http_server, mark):
    record = {"execution_id": E1, "status": "completed", "output": _nested(400)}
    http_server.queue(Answer(200, mark + json.dumps(record).encode()))
    assert client.get_execution_status(E1).output == _nested(400)


def test_an_answer_that_python_does_not_read_names_the_bound(client, http_server):
    http_server.queue(Answer(200, b'{"execution_id": "e-1", "status": "completed", "output": ' + b"[" * 100_000))
    with pytest.raises(flow_client.PlatformResponseError, match="nested too deeply for Python's recursion limit of"):
        client.get_execution_status(E1)


@pytest.mark.parametrize("levels", [0, 400])
def test_an_error_that_python_reads_is_read(client, http_server, levels):
    http_server.queue(Answer(422, {"detail": _nested(levels)}))
    with pytest.raises(flow_client.PlatformBadRequestError, match="422") as caught:
        client.get_execution_status(E1)
    assert caught.value.detail == _nested(levels)


def test_an_error_that_python_does_not_read_is_shown_as_text(client, http_server):
    http_server.queue(Answer(422, b"[" * 100_000))
    with pytest.raises(flow_client.PlatformBadRequestError, match="422") as caught:
        client.get_execution_status(E1)
    assert caught.value.detail == "[" * 100_000


def test_a_body_that_contains_itself_is_refused(client, http_server):
    value = {}
    value["self"] = value
    with pytest.raises(flow_client.InvalidRequestError):
        client.submit_code_block_execution("cb-1", value, ring_id="r-1")
    assert http_server.received == []


def test_a_text_that_says_nan_is_not_a_number(client, http_server):
    http_server.queue(ACCEPTED)
    client.submit_code_block_execution("cb-1", {"a": "NaN", "b": "Infinity"}, ring_id="r-1")
    assert http_server.received[0].json["input_parameters"] == {"a": "NaN", "b": "Infinity"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout_seconds": 0},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
        {"timeout_seconds": float("inf")},
        {"config": 7},
        {"lifecycle_event": ""},
        {"ring_id": ""},
    ],
)
def test_unusable_arguments_of_a_submission_are_refused(client, http_server, arguments):
    with pytest.raises(flow_client.PlatformClientError):
        client.submit_workflow_execution("wf-1", {}, **{"ring_id": "r-1", **arguments})
    assert http_server.received == []


def test_an_unknown_execution_mode_is_refused(client, http_server):
    with pytest.raises(flow_client.InvalidRequestError, match=r"'remote'.*'inline' or 'isolated'"):
        client.execute_agent("ag-1", {}, {}, execution_mode="remote")
    assert http_server.received == []


def test_a_renewed_token_is_used_from_then_on_and_told(make_client, http_server):
    told = []
    client = make_client(on_auth_token_refresh=told.append)
    http_server.queue(Answer(200, DONE.body, {"X-Auth-Token": "t-2"}), Answer(200, DONE.body, {"X-Auth-Token": "t-2"}))
    for _ in range(3):
        client.get_execution_status(E1)
    assert [r.headers["Authorization"] for r in http_server.received] == ["Bearer t-1", "Bearer t-2", "Bearer t-2"]
    assert told == ["t-2"]


def test_a_callback_that_raises_does_not_fail_the_request(make_client, http_server, caplog):
    def fail(_token):
        raise RuntimeError("callback broke")

    http_server.queue(Answer(200, DONE.body, {"X-Auth-Token": "t-2"}))
    assert make_client(on_auth_token_refresh=fail).get_execution_status(E1).status == "completed"
    assert "callback broke" in caplog.text


def test_a_token_function_is_asked_at_the_start_and_once_more_on_401(make_client, http_server):
    tokens = iter(["t-1", "t-2", "t-3"])
    client = make_client(auth_token=lambda: next(tokens))
    http_server.queue(DONE, Answer(401, {"detail": "expired"}), DONE, Answer(401, {}), Answer(401, {}))
    client.get_execution_status(E1)
    assert client.get_execution_status(E1).status == "completed"
    with pytest.raises(flow_client.PlatformAuthenticationError):
        client.get_execution_status(E1)
    sent = [r.headers["Authorization"].split()[1] for r in http_server.received]
    assert sent == ["t-1", "t-1", "t-2", "t-2", "t-3"]


def test_the_request_that_is_sent_again_after_a_401_keeps_its_key(make_client, http_server):
    tokens = iter(["t-1", "t-2"])
    http_server.queue(Answer(401, {}), ACCEPTED)
    submit(make_client(auth_token=lambda: next(tokens)))
    first, second = http_server.received
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_one_caller_refreshes_the_token_and_the_others_wait(make_client, http_server):
    asked = []
    all_refused = threading.Barrier(32)

    def token():
        asked.append(threading.get_ident())
        return f"t-{len(asked)}"

    def handle(request):
        if request.headers["Authorization"] == "Bearer t-1":
            all_refused.wait(timeout=30)
            return Answer(401, {"detail": "expired"})
        return DONE

    http_server.handle = handle
    client = make_client(auth_token=token)
    with ThreadPoolExecutor(32) as pool:
        records = list(pool.map(client.get_execution_status, [E1] * 32))
    assert {record.status for record in records} == {"completed"}
    assert len(asked) == 2


def test_a_static_token_that_is_refused_is_an_error(client, http_server):
    http_server.queue(Answer(401, {"detail": "expired"}))
    with pytest.raises(flow_client.PlatformAuthenticationError, match="expired"):
        client.get_execution_status(E1)
    assert len(http_server.received) == 1


def test_netrc_does_not_replace_the_token(client, http_server, tmp_path, monkeypatch):
    path = tmp_path / "netrc"
    path.write_text("default login u password p\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    client.get_execution_status(E1)
    assert http_server.received[0].headers["Authorization"] == "Bearer t-1"


def test_a_request_says_which_client_sends_it(client, http_server):
    client.get_execution_status(E1)
    wanted = f"flow-client/{flow_client.__version__} python/{platform.python_version()}"
    assert http_server.received[0].headers["User-Agent"] == wanted


def test_a_cookie_is_not_sent_back(client, http_server):
    http_server.queue(Answer(200, DONE.body, {"Set-Cookie": "a=1"}))
    client.get_execution_status(E1)
    client.get_execution_status(E1)
    assert "Cookie" not in http_server.received[1].headers


def test_an_answer_that_is_too_large_is_refused(make_client, http_server):
    http_server.queue(Answer(200, {"execution_id": E1, "status": "x" * 5000}))
    client = make_client(max_answer_bytes=1000)
    with pytest.raises(flow_client.PlatformResponseError, match=r"more than 1000 bytes.*max_answer_bytes"):
        client.get_execution_status(E1)
    assert client.get_execution_status(E1).status == "completed"


def test_a_closed_client_says_so_and_can_be_closed_twice(http_server):
    with PlatformClient(http_server.url, "t-1", "o", "w") as client:
        client.get_execution_status(E1)
    client.close()
    with pytest.raises(flow_client.ClientClosedError):
        client.get_execution_status(E1)


def test_the_nats_methods_without_a_server_name_the_variable(client):
    calls = [
        lambda: client.fetch_execution_input(None, E1),
        lambda: client.push_execution_output(None, E1, 1),
        lambda: client.push_execution_event(None, E1, "chunk", 1),
        lambda: client.publish_execution_status(E1, "running"),
    ]
    for call in calls:
        with pytest.raises(flow_client.PlatformClientError, match="NATS_URL"):
            call()


def test_a_wait_that_runs_out_of_time_asks_for_cancellation(client, http_server):
    def handle(request):
        if request.path.endswith("/cancel"):
            return Answer(500, {"detail": "cancel failed"})
        return ACCEPTED if request.method == "POST" else Answer(200, {"execution_id": E1, "status": "running"})

    http_server.handle = handle
    started = time.monotonic()
    with pytest.raises(flow_client.PlatformExecutionError, match=r"did not end within 0\.3 s") as caught:
        client.execute_code_block("cb-1", {}, {}, ring_id="r-1", timeout_seconds=0.3)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert caught.value.execution_id == E1
    assert caught.value.idempotency_key == http_server.received[0].headers["Idempotency-Key"]
    assert [r.path for r in http_server.received if r.path.endswith("/cancel")] != []
    assert time.monotonic() - started < 20


def test_await_execution_result_raises_a_timeout_error(client, http_server):
    http_server.default = Answer(200, {"execution_id": E1, "status": "queued"})
    with pytest.raises(TimeoutError, match=r"e-1.*'queued'"):
        client.await_execution_result(E1, timeout_seconds=0.2, poll_interval_seconds=0.05)
    assert len(http_server.received) >= 3


@pytest.mark.parametrize("name", ["timeout_seconds", "poll_interval_seconds", "not_found_retry_seconds"])
@pytest.mark.parametrize("value", [-1, float("nan"), "soon", True])
def test_unusable_durations_of_a_wait_are_refused(client, http_server, name, value):
    with pytest.raises(flow_client.InvalidRequestError, match=name):
        client.await_execution_result(E1, **{name: value})
    assert http_server.received == []


def test_an_unknown_wish_for_interrupts_is_refused(client, http_server):
    with pytest.raises(flow_client.InvalidRequestError, match=r"on_interrupt is 'ignore'.*'detach' or 'cancel'"):
        client.await_execution_result(E1, on_interrupt="ignore")
    assert http_server.received == []


def test_a_token_is_in_no_log_no_repr_and_no_pickle(make_client, http_server, caplog):
    client = make_client(auth_token="canary-7f3a")
    http_server.queue(Answer(503, {}), DONE, Answer(418, {"detail": "teapot"}))
    with caplog.at_level(logging.DEBUG):
        client.get_execution_status(E1)
        with pytest.raises(flow_client.PlatformStatusError):
            client.get_execution_status(E1)
    assert http_server.received[0].headers["Authorization"] == "Bearer canary-7f3a"
    assert len(caplog.records) >= 3
    shown = [caplog.text, repr(client), str(vars(client)), repr(client.settings), str(vars(client._transport))]
    shown += [str(vars(client._transport._tokens)), json.dumps(vars(client.settings), default=str)]
    assert "canary-7f3a" not in "".join(shown)
