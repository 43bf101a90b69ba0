"""Fan-out against a server that counts: in order, lazy, bounded, and taken up again with the same key."""

import itertools
import logging
import sys
import time
from contextlib import suppress
from functools import partial

import pytest
from support.http import Answer

import flow_client

SECONDS = 30


def status_of(ended):
    """Have those executions be completed for whose number `ended` holds, and the others run."""
    return lambda number, _execution: "completed" if ended(number) else "running"


def refusing(answers):
    """Answer the submissions of some numbers otherwise."""
    return lambda number, _count: answers.get(number)


def numbers(count):
    return ({"number": number} for number in (range(count) if isinstance(count, int) else count))


def test_records_come_in_the_order_of_their_inputs(client, submit, executions):
    ends = {number: time.monotonic() + (7 * number) % 10 * 0.1 for number in range(20)}
    executions.status = status_of(lambda number: time.monotonic() > ends[number])
    records = list(client.map(submit, numbers(20), max_in_flight=5))
    assert [record.output for record in records] == list(range(20))
    assert executions.most_unfinished <= 5


def test_nothing_is_submitted_before_a_record_is_asked_for_and_an_endless_input_is_read_as_there_is_room(
    client, submit, executions
):
    records = client.map(submit, numbers(itertools.count()), max_in_flight=3)
    time.sleep(0.1)
    assert len(executions.submissions) == 0
    assert [next(records).output for _ in range(10)] == list(range(10))
    assert len(executions.submissions) <= 10 + 4 * 3
    records.close()


def test_while_the_first_takes_long_the_others_go_on_up_to_a_bound(client, submit, executions):
    looks_at_the_bound = itertools.count()
    executions.status = status_of(
        lambda number: number > 0 or (len(executions.submissions) >= 4 * 3 and next(looks_at_the_bound) == 3)
    )
    records = client.map(submit, numbers(itertools.count()), max_in_flight=3)
    assert next(records).output == 0
    assert len(executions.submissions) == 4 * 3
    assert executions.most_unfinished <= 3
    records.close()


def test_an_execution_that_failed_is_a_record_like_any_other(client, submit, http_server, executions):
    executions.handle, answer = None, executions.handle
    http_server.handle = lambda request: (
        answer(request)
        if request.method == "POST"
        else Answer(200, {"execution_id": request.path.rpartition("/")[2], "status": "failed", "error": "boom"})
    )
    assert [record.error for record in client.map(submit, numbers(2))] == ["boom", "boom"]


def test_an_error_is_raised_at_its_place_and_ends_the_map(client, submit, executions):
    executions.refuse = refusing({3: Answer(422, {"detail": "no such thing"})})
    records = client.map(submit, numbers(itertools.count()), max_in_flight=8)
    assert [next(records).output for _ in range(3)] == [0, 1, 2]
    with pytest.raises(flow_client.PlatformBadRequestError, match="no such thing"):
        next(records)
    assert len(executions.submissions) == 4
    assert list(records) == []


def test_errors_are_yielded_at_their_places_if_that_is_wanted(client, submit, executions):
    executions.refuse = refusing({1: Answer(422, {"detail": "no"}), 4: Answer(403, {"detail": "no"})})
    outcomes = list(client.map(submit, numbers(6), max_in_flight=3, return_exceptions=True))
    assert [type(outcome).__name__ for outcome in outcomes] == [
        *("ExecutionRecord", "PlatformBadRequestError", "ExecutionRecord", "ExecutionRecord"),
        *("PlatformPermissionError", "ExecutionRecord"),
    ]


@pytest.mark.parametrize("return_exceptions", [True, False])
def test_inputs_that_break_off_are_an_error_behind_the_records_before_it(client, submit, executions, return_exceptions):
    def inputs():
        yield from numbers(3)
        raise KeyError("the file has ended")

    records = client.map(submit, inputs(), return_exceptions=return_exceptions)
    assert [next(records).output for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="the file has ended"):
        next(records)


def test_an_execution_that_does_not_end_in_time_is_an_error_at_its_place(client, submit, executions):
    executions.status = status_of(lambda number: number != 1)
    outcomes = list(client.map(submit, numbers(3), timeout=0.5, return_exceptions=True))
    assert [getattr(outcome, "status", None) for outcome in outcomes] == ["completed", None, "completed"]
    assert isinstance(outcomes[1], flow_client.ExecutionWaitTimeout)


def test_with_a_key_a_second_run_submits_under_the_same_keys_and_another_batch_under_others(client, submit, executions):
    for key in ("nightly", "nightly", "nightly-1", "n" * 1000):
        list(client.map(submit, numbers(12), key=key))
    runs = [executions.keys[n : n + 12] for n in range(0, 48, 12)]
    assert runs[0] == runs[1]
    assert len({*runs[0], *runs[2], *runs[3]}) == 36
    assert all(len(key) <= 255 and key.isascii() for key in executions.keys)


def test_without_a_key_every_run_has_keys_of_its_own(client, executions):
    def submit(item):
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1")

    for _ in range(2):
        list(client.map(submit, numbers(3)))
    assert len(set(executions.keys)) == 6


def test_a_submit_that_keeps_the_key_to_itself_is_found_out_at_the_first_input(client, executions):
    def forgetful(item, **_key):
        return client.submit_code_block_execution("cb-1", item, ring_id="r-1")

    with pytest.raises(flow_client.InvalidRequestError, match="did not pass on its idempotency_key"):
        list(client.map(forgetful, numbers(10), key="nightly"))
    assert len(executions.submissions) == 1


@pytest.mark.parametrize(("key", "taken_up"), [("nightly", "key='nightly'"), (None, "e-1-0, e-2-0")])
def test_what_is_left_in_flight_is_logged_in_one_line(client, submit, executions, caplog, key, taken_up):
    executions.status = status_of(lambda number: number == 0)
    records = client.map(submit, numbers(itertools.count()), max_in_flight=3, key=key)
    assert next(records).output == 0
    leave = records.close if key else partial(records.throw, KeyboardInterrupt)
    with caplog.at_level(logging.WARNING), suppress(KeyboardInterrupt):
        leave()
    (line,) = caplog.messages
    assert "nothing was cancelled" in line
    assert taken_up in line
    submitted = len(executions.submissions)
    time.sleep(0.3)
    assert len(executions.submissions) == submitted


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from Python 3.11 on")
def test_what_is_left_in_flight_stands_under_the_traceback(client, submit, executions):
    executions.status = status_of(lambda number: number == 0)
    records = client.map(submit, numbers(itertools.count()), max_in_flight=3, key="nightly")
    next(records)
    with pytest.raises(KeyboardInterrupt) as caught:
        records.throw(KeyboardInterrupt)
    (note,) = caught.value.__notes__
    assert (
        "3 executions in flight, 1 ended; nothing was cancelled. To get the records, call map again with key='nightly'"
        in note
    )


def test_a_map_that_was_read_to_its_end_logs_nothing(client, submit, executions, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(list(client.map(submit, numbers(3)))) == 3
    assert caplog.messages == []


@pytest.mark.parametrize(
    "options",
    [{"max_in_flight": 0}, {"max_in_flight": 1.5}, {"key": ""}, {"key": 7}, {"timeout": 0}, {"progress": "yes"}],
)
def test_unusable_arguments_are_refused_at_once(client, submit, http_server, options):
    with pytest.raises(flow_client.InvalidRequestError, match=next(iter(options))):
        client.map(submit, numbers(3), **options)
    assert http_server.received == []
