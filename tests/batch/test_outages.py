"""Submissions of a map while the platform is away: no input is lost or run twice, and few requests are made."""

import itertools
import logging
import os
import re
import signal
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial

import pytest
from support.executions import Executions
from support.faults import silent
from support.http import Answer, HttpServer

import flow_client

AWAY = Answer(503, {"detail": "a deployment is under way"})


def numbers(count):
    return [{"number": number} for number in range(count)]


def outputs(records):
    return [record.output for record in records]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("status", "begin"), [(503, 0), (500, 5)])
def test_an_outage_loses_no_input_costs_few_requests_and_one_warning(client, submit, executions, caplog, status, begin):
    """Four submissions in a row are refused: three would end an ordinary call."""
    executions.refuse = lambda _, count: Answer(status, {}) if begin < count <= begin + 4 else None
    assert outputs(client.map(submit, numbers(10), max_in_flight=4)) == list(range(10))
    assert set(executions.started.values()) == {1}
    assert len(executions.submissions) == 10 + 4
    (warning,) = warnings(caplog)
    assert "a submission failed and is retried for up to 300 s" in warning
    assert all(len(set(executions.keys_of(number))) == 1 for number in range(10))


@pytest.mark.parametrize("key", [None, "nightly"])
def test_an_answer_that_was_lost_starts_nothing_twice(client, submit, executions, http_server, key):
    """The platform takes a submission, and the answer is a 502 of something in between."""
    answer, lost = executions.handle, set(range(0, 10, 3))

    def lose(request):
        result = answer(request)
        number = request.json["input_parameters"]["number"] if request.method == "POST" else None
        if number in lost:
            lost.discard(number)
            return Answer(502, b"<html>bad gateway</html>")
        return result

    http_server.handle = lose
    batch = client.map(submit, numbers(10), key=key)
    assert outputs(batch) == list(range(10))
    assert executions.started == dict.fromkeys(range(10), 1)
    assert batch.counts == flow_client.BatchCounts(inputs=10, started=10, completed=10)


def test_a_function_that_takes_no_key_is_repeated_under_the_key_of_its_first_try(client, executions):
    executions.refuse = lambda _, count: AWAY if 2 < count <= 4 else None
    own = itertools.count()

    def submit(item):
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1", idempotency_key=f"own-{next(own)}")

    for submit_one in (submit, lambda item: client.submit_code_block_execution("cb-1", item, ring_id="r-1")):
        executions.submissions.clear()
        assert outputs(client.map(submit_one, numbers(4), max_in_flight=1)) == list(range(4))
        assert [len(set(executions.keys_of(number))) for number in range(4)] == [1, 1, 1, 1]
        assert len(set(executions.keys)) == 4


def test_what_is_ready_is_yielded_and_what_is_in_flight_is_watched_while_submissions_fail(client, submit, executions):
    over = threading.Event()
    executions.refuse = lambda number, _: None if number < 5 or over.is_set() else AWAY
    records = client.map(submit, numbers(8), max_in_flight=6)
    assert [next(records).output for _ in range(5)] == list(range(5))
    assert not over.is_set()
    over.set()
    assert outputs(records) == [5, 6, 7]


def test_an_input_that_alone_is_refused_does_not_hold_up_the_submissions_of_others(client, submit, executions):
    executions.refuse = lambda number, _: Answer(500, {}) if number == 0 and executions.started[6] == 0 else None
    assert outputs(client.map(submit, numbers(8), max_in_flight=3)) == list(range(8))
    assert len(executions.submissions) < 8 + 8


def closing(handle):
    """Answer as `handle` does and close the connection: the next request has to open one."""

    def answer(request):
        answered = handle(request)
        return Answer(answered.status, answered.body, {**answered.headers, "Connection": "close"})

    return answer


def test_a_platform_that_is_gone_and_comes_back_is_waited_for(make_client, caplog):
    """It goes when the fourth input is read, and nobody listens on its port for two seconds."""
    with ExitStack() as servers:
        server = servers.enter_context(HttpServer())
        executions = Executions(server)
        server.handle = closing(executions.handle)

        def come_back():
            back = servers.enter_context(HttpServer(int(server.url.rpartition(":")[2])))
            back.handle = closing(executions.handle)

        returns = threading.Timer(2, come_back)

        def inputs():
            yield from numbers(3)
            servers.pop_all().close()
            returns.start()
            yield from numbers(6)[3:]

        client = make_client(base_url=server.url)
        submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
        assert outputs(client.map(submit, inputs())) == list(range(6))
        returns.join()
    (warning,) = warnings(caplog)
    assert "refused" in warning.lower()
    assert executions.started == dict.fromkeys(range(6), 1)


def test_a_platform_that_hangs_is_given_up_on_and_asked_again(make_client, http_server, executions):
    client = make_client(timeout=0.4)
    submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
    answer, hanging = executions.handle, [1, 1]

    def hang(request):
        if request.method == "POST" and executions.started[2] and hanging:
            hanging.pop()
            time.sleep(1)
        return answer(request)

    http_server.handle = hang
    assert outputs(client.map(submit, numbers(6), max_in_flight=2)) == list(range(6))
    assert executions.started == dict.fromkeys(range(6), 1)


@pytest.mark.parametrize("return_exceptions", [True, False])
def test_nobody_there_from_the_start_is_one_error_after_the_usual_attempts(make_client, return_exceptions, caplog):
    with HttpServer() as server:
        url = server.url
    client = make_client(base_url=url)
    read = []
    inputs = (read.append(number) or {"number": number} for number in range(200))
    submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
    with pytest.raises(flow_client.PlatformConnectionError, match="the platform was never reached") as caught:
        list(client.map(submit, inputs, return_exceptions=return_exceptions))
    assert (caught.value.attempts, caught.value.request_sent, read) == (3, False, [0])
    assert caught.value.idempotency_key
    assert len(warnings(caplog)) == 1


def test_patience_has_an_end(client, submit, executions):
    executions.refuse = lambda number, _: AWAY if number > 1 else None
    outcomes = list(client.map(submit, numbers(4), patience=1, return_exceptions=True))
    assert [type(outcome).__name__ for outcome in outcomes] == ["ExecutionRecord"] * 2 + ["PlatformServerError"] * 2
    assert re.search(r"; submissions have failed for \d s$", str(outcomes[2]))
    assert len(executions.submissions) < 12
    assert outcomes[2].status_code == 503
    assert outcomes[2].attempts > 1
    assert outcomes[2].idempotency_key == executions.keys_of(2)[0]


def test_an_error_behind_an_input_that_is_still_tried_comes_at_its_place(client, submit, executions):
    executions.refuse = lambda number, count: (
        Answer(422, {"detail": "no"}) if number == 3 else AWAY if number == 1 and count < 6 else None
    )
    records = client.map(submit, numbers(6), max_in_flight=6)
    assert [next(records).output for _ in range(3)] == [0, 1, 2]
    with pytest.raises(flow_client.PlatformBadRequestError):
        next(records)
    assert 4 not in executions.started


def test_what_else_fails_in_submit_is_the_inputs_error(client, executions, http_server):
    def submit(item):
        if item["number"] == 1:
            client.with_options(max_attempts=1).get_execution_status("no-such-thing")
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1")

    answer = executions.handle
    http_server.handle = lambda request: AWAY if request.path.endswith("no-such-thing") else answer(request)
    outcomes = list(client.map(submit, numbers(3), return_exceptions=True))
    assert [type(outcome).__name__ for outcome in outcomes] == [
        *("ExecutionRecord", "PlatformServerError", "ExecutionRecord")
    ]


def test_ctrl_c_lands_at_once_in_the_back_off_and_says_what_is_left(client, submit, executions, caplog):
    executions.refuse = lambda number, _: Answer(503, {}, {"Retry-After": "30"}) if number == 2 else None
    executions.status = lambda number, _: "completed" if number == 0 else "running"
    records = client.map(submit, numbers(6), max_in_flight=3, key="nightly")
    assert next(records).output == 0
    started = time.monotonic()
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        next(records)
    assert time.monotonic() - started < 10
    line = warnings(caplog)[-1]
    assert "1 execution in flight, 1 ended, 1 perhaps submitted; nothing was cancelled. " in line
    assert line.endswith("To get the records, call map again with key='nightly' and the same inputs")
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [line]


def test_ctrl_c_lands_at_once_in_a_submission_that_hangs(make_client):
    with silent() as server:
        client = make_client(base_url=server.url)
        submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(client.map(submit, numbers(3)))
        assert time.monotonic() - started < 10
