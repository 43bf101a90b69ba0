"""A batch that is run again: whose keys go with the inputs, what failed is run again, and what came is counted."""

import logging
from functools import partial

import pytest
from support.executions import Executions
from support.http import Answer

import flow_client
from flow_client import BatchCounts

REPLAYED = ["Idempotent-Replayed", "idempotency-replayed"]


def inputs(*numbers):
    return [{"number": number} for number in numbers]


def by_number(item):
    return f"nightly-{item['number']}"


def statuses(records):
    return [record.status for record in records]


def test_keys_of_a_function_go_with_the_inputs_wherever_they_stand(client, submit, executions):
    for numbers in ((0, 1, 2, 3), (9, 3, 1, 0, 2), (2,)):
        assert [record.output for record in client.map(submit, inputs(*numbers), key=by_number)] == list(numbers)
    assert executions.started == dict.fromkeys((0, 1, 2, 3, 9), 1)


@pytest.mark.parametrize("returned", ["", None, 7, b"x"])
def test_a_key_function_that_returns_no_key_is_an_error_of_the_input(client, submit, executions, returned):
    key = lambda item: returned if item["number"] == 1 else by_number(item)  # noqa: E731
    outcomes = list(client.map(submit, inputs(0, 1, 2), key=key, return_exceptions=True))
    assert isinstance(outcomes[1], flow_client.InvalidRequestError)
    assert f"returned {returned!r} for inputs[1]" in str(outcomes[1])
    assert 1 not in executions.started


def test_a_key_function_that_raises_is_an_error_of_the_input(client, submit, executions):
    records = client.map(submit, [{"number": 0}, {"nummer": 1}, {"number": 2}], key=by_number)
    assert next(records).output == 0
    with pytest.raises(KeyError):
        next(records)
    assert list(executions.started) == [0]


def test_two_inputs_with_the_same_key_are_an_error_that_names_both(client, submit, executions):
    outcomes = list(client.map(submit, inputs(0, 5, 2, 5, 3), key=by_number, return_exceptions=True))
    assert [getattr(outcome, "output", None) for outcome in outcomes] == [0, 5, 2, None, 3]
    assert "returned 'nightly-5' for inputs[1] and for inputs[3]" in str(outcomes[3])
    assert executions.started[5] == 1


def test_a_line_at_the_top_of_the_file_is_an_error_that_says_what_to_do(client, submit, executions):
    list(client.map(submit, inputs(0, 1, 2), key="nightly"))
    with pytest.raises(flow_client.PlatformBadRequestError) as caught:
        list(client.map(submit, inputs(9, 0, 1, 2), key="nightly"))
    assert "inputs[0] is not what an earlier run with key='nightly' submitted there." in str(caught.value)
    assert "key=lambda item" in str(caught.value)
    assert "used for a request with another body" in str(caught.value)
    assert caught.value.status_code == 422
    assert caught.value.idempotency_key == executions.keys[0]
    assert isinstance(caught.value.__cause__, flow_client.PlatformBadRequestError)


def test_an_input_that_was_changed_is_named_with_its_key(client, submit, executions):
    list(client.map(submit, inputs(0, 1), key=by_number))
    other = partial(submit, timeout_seconds=5)
    outcomes = list(client.map(other, inputs(0, 1), key=by_number, return_exceptions=True))
    assert "inputs[1] is not what an earlier run submitted under its key 'nightly-1'" in str(outcomes[1])


def test_a_submit_that_takes_no_key_is_given_it_all_the_same(client, executions):
    def submit(item):
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1")

    for _ in range(2):
        list(client.map(submit, inputs(0, 1, 2), key="nightly"))
    assert executions.started == dict.fromkeys((0, 1, 2), 1)


@pytest.mark.parametrize("key", ["nightly", by_number])
@pytest.mark.parametrize("header", [None, *REPLAYED])
def test_what_failed_in_an_earlier_run_is_run_again_once_in_each_run(client, submit, http_server, key, header):
    """Number 1 fails twice, number 2 always; number 0 is never run again."""
    executions = Executions(http_server, header)
    executions.status = lambda number, execution: (
        "failed" if number == 2 or (number == 1 and execution < 2) else "completed"
    )
    seen = []
    for _ in range(4):
        batch = client.map(submit, inputs(0, 1, 2), key=key, retry_failed=True)
        seen.append((statuses(batch), dict(executions.started), batch.counts.retried))
    assert seen == [
        (["completed", "failed", "failed"], {0: 1, 1: 1, 2: 1}, 0),
        (["completed", "failed", "failed"], {0: 1, 1: 2, 2: 2}, 2),
        (["completed", "completed", "failed"], {0: 1, 1: 3, 2: 3}, 2),
        (["completed", "completed", "failed"], {0: 1, 1: 3, 2: 4}, 1),
    ]
    assert statuses(client.map(submit, inputs(0, 1, 2), key=key)) == ["completed", "failed", "failed"]
    assert sum(executions.started.values()) == 8


@pytest.mark.parametrize("status", ["timeout", "dead_letter", "CANCELLED"])
def test_whatever_did_not_complete_is_run_again(client, submit, executions, status):
    executions.status = lambda number, execution: "completed" if execution else status
    list(client.map(submit, inputs(0), key="nightly"))
    assert statuses(client.map(submit, inputs(0), key="nightly", retry_failed=True)) == ["completed"]


def test_a_retry_that_a_dead_run_left_unfinished_is_taken_up_and_not_repeated(client, submit, executions):
    finished = []
    executions.status = lambda number, execution: ["failed", "completed" if finished else "running"][execution]
    list(client.map(submit, inputs(0), key="nightly"))
    dead = client.map(submit, inputs(0), key="nightly", retry_failed=True, timeout=1, return_exceptions=True)
    assert isinstance(next(dead), flow_client.ExecutionWaitTimeout)
    finished.append(True)
    batch = client.map(submit, inputs(0), key="nightly", retry_failed=True)
    assert statuses(batch) == ["completed"]
    assert executions.started[0] == 2


def test_behind_an_error_that_ends_the_batch_nothing_is_run_again(client, submit, executions):
    executions.status = lambda number, execution: "failed" if number else "completed"
    list(client.map(submit, inputs(0, 1, 2, 3), key=by_number))
    executions.refuse = lambda number, _: Answer(403, {}) if number == 1 else None
    batch = client.map(submit, inputs(3, 0, 1, 2), key=by_number, retry_failed=True)
    with pytest.raises(flow_client.PlatformPermissionError):
        list(batch)
    assert executions.started == {0: 1, 1: 1, 2: 1, 3: 2}


def test_a_key_whose_first_request_never_ends_is_not_taken_for_another_input(client, submit, executions):
    detail = "A request with this Idempotency-Key is in progress."
    executions.refuse = lambda *_: Answer(409, {"detail": detail})
    with pytest.raises(flow_client.PlatformConflictError, match=r"in progress\.; submissions have failed"):
        list(client.map(submit, inputs(0), key="nightly", patience=0.5))


def test_an_answer_that_was_lost_is_not_taken_for_an_earlier_run(client, submit, http_server, executions):
    """The platform starts it, the answer is lost, and it has failed when it is submitted again."""
    executions.status = lambda *_: "failed"
    answer, lost = executions.handle, []

    def lose(request):
        result = answer(request)
        if request.method == "POST" and not lost:
            lost.append(request)
            return Answer(502, {})
        return result

    http_server.handle = lose
    batch = client.map(submit, inputs(0), key="nightly", retry_failed=True)
    assert statuses(batch) == ["failed"]
    assert executions.started[0] == 1
    assert (batch.counts.started, batch.counts.resumed) == (1, 0)


def test_records_that_are_older_than_their_submission_were_resumed(client, submit, http_server):
    """A platform that gives back its first answer as it was, and says when each execution was created."""
    created = {0: "2026-01-01T00:00:00Z", 1: "2999-01-01T00:00:00Z", 2: "2026-01-01T00:00:00"}

    def answer(request):
        if request.method == "POST":
            number = request.json["input_parameters"]["number"]
            return Answer(202, {"execution_id": f"e-{number}", "status": "pending"})
        number = int(request.path.rpartition("-")[2])
        record = {"execution_id": f"e-{number}", "status": "completed", "created_at": created[number]}
        return Answer(200, record)

    http_server.handle = answer
    batch = client.map(submit, inputs(0, 1, 2), key="nightly")
    assert len(list(batch)) == 3
    assert (batch.counts.started, batch.counts.resumed) == (1, 2)


@pytest.mark.parametrize("header", REPLAYED)
def test_the_counts_say_what_was_started_and_what_was_resumed(client, submit, http_server, header, caplog):
    executions = Executions(http_server, header)
    executions.status = lambda number, _: "failed" if number == 3 else "completed"
    list(client.map(submit, inputs(0, 1), key=by_number))
    batch = client.map(submit, inputs(0, 1, 2, 3, 2), key=by_number, return_exceptions=True)
    assert batch.counts == BatchCounts()
    with caplog.at_level(logging.INFO):
        assert len(list(batch)) == 5
    expected = BatchCounts(inputs=5, started=2, resumed=2, completed=3, failed=1, errors=1)
    assert batch.counts == expected
    assert caplog.messages == ["map: 5 inputs: 2 started, 2 resumed; 3 completed, 1 failed, 1 errors, 0 unfinished"]


def test_the_counts_can_be_read_on_the_way(client, submit, executions):
    executions.status = lambda number, _: "completed" if number == 0 else "running"
    batch = client.map(submit, inputs(0, 1, 2, 3), max_in_flight=2)
    next(batch)
    assert batch.counts.completed == 1
    assert batch.counts.unfinished == batch.counts.inputs - 1
    batch.close()
    assert batch.counts.completed == 1
    assert list(batch) == []


def test_inputs_stand_beside_what_came_of_them(client, submit, executions):
    first, second = inputs(0, -1)
    executions.refuse = lambda number, _: Answer(422, {}) if number == -1 else None
    (one, record), (two, error) = client.map(submit, [first, second], with_inputs=True, return_exceptions=True)
    assert one is first
    assert two is second
    assert record.output == 0
    assert isinstance(error, flow_client.PlatformBadRequestError)


def test_a_batch_without_a_key_says_under_which_key_it_is_taken_up(client, submit, executions, caplog):
    executions.status = lambda number, _: "completed" if number < 2 else "running"
    batch = client.map(submit, inputs(0, 1, 2, 3))
    assert [next(batch).output for _ in range(2)] == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        batch.throw(KeyboardInterrupt)
    line = caplog.messages[-1]
    assert line.startswith(
        "map stopped with 2 executions in flight, 2 ended; nothing was cancelled. To get the records, "
    )
    assert "take them up with client.execution(): e-2-0, e-3-0; or call map again with key=" in line
    key = line.partition("key='")[2].partition("'")[0]
    executions.status = lambda *_: "completed"
    assert [record.output for record in client.map(submit, inputs(0, 1, 2, 3), key=key)] == [0, 1, 2, 3]
    assert executions.started == dict.fromkeys(range(4), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry_failed": True}, "retry_failed needs key="),
        ({"retry_failed": "yes", "key": "k"}, "retry_failed is 'yes'"),
        ({"with_inputs": 1}, "with_inputs is 1"),
        ({"return_exceptions": None}, "return_exceptions is None"),
        ({"patience": -1}, "patience is -1"),
        ({"key": b"nightly"}, "key is b'nightly'"),
        ({"inputs": 5}, "inputs is 5"),
        ({"submit": "count"}, "submit is 'count'"),
    ],
)
def test_unusable_arguments_are_refused_before_anything_is_sent(client, submit, http_server, options, message):
    with pytest.raises(flow_client.InvalidRequestError, match=message):
        client.map(**{"submit": submit, "inputs": inputs(0), **options})
    assert http_server.received == []


def test_a_submit_that_returns_no_handle_is_an_error_that_says_so(client, executions):
    def submit(item):
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1").wait()

    with pytest.raises(
        flow_client.InvalidRequestError, match="submit returned ExecutionRecord; it must return a handle"
    ):
        list(client.map(submit, inputs(0)))
