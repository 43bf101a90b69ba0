"""The ordered log of what is not acknowledged."""

import threading
import time

import pytest

from flow_client import BridgeError, ClientClosedError, UndeliveredError
from flow_client._nats.outbox.backlog import Backlog, Message
from flow_client._nats.payloads import event


class Wakes:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def _log(max_messages=100, max_bytes=1000, wake=None):
    return Backlog(max_messages, max_bytes, wake or Wakes())


def _message(content=b"x", stream="s", *, waited_for=False):
    return Message(f"{stream}.1", content, waited_for=waited_for)


def _wait(log, seconds):
    return log.barrier().wait(seconds)


def _append(log, *messages):
    for message in messages:
        log.append(message)
    return messages


def test_a_burst_wakes_the_loop_once():
    wake = Wakes()
    log = _log(wake=wake)
    messages = _append(log, *(_message() for _ in range(50)))
    assert wake.count == 1
    assert log.has_more()
    log.settle(messages)
    _append(log, _message())
    assert wake.count == 1  # the loop has not seen the end yet
    log.settle(log.next_run(10, 1000))
    assert not log.has_more()
    _append(log, _message(), _message())
    assert wake.count == 2


def test_a_loop_that_does_not_start_leaves_nothing_behind_and_the_next_message_tries_again():
    def start():
        raise BridgeError("no thread")

    log = Backlog(100, 1000, Wakes(), start)
    for _ in range(2):
        with pytest.raises(BridgeError, match="no thread"):
            log.append(_message())
    assert len(log) == 0


def test_a_run_is_what_goes_to_one_stream_within_the_limits():
    log = _log()
    first = _append(log, *(_message() for _ in range(5)))
    (last,) = _append(log, _message(stream="t"))
    assert log.next_run(2, 1000) == list(first[:2])
    assert log.next_run(10, 2) == list(first[2:4])
    assert log.next_run(10, 0) == list(first[4:])
    assert log.next_run(10, 1000) == [last]


def test_what_was_taken_out_comes_again_unless_it_is_settled():
    log = _log()
    first, second, third = _append(log, _message(), _message(), _message())
    assert log.next_run(2, 1000) == [first, second]
    log.settle([first])
    log.rewind()
    assert log.next_run(10, 1000) == [second, third]
    assert not log.has_more()
    assert len(log) == 2


def test_callers_who_wait_for_room_are_woken_when_there_is_a_fair_amount_of_it():
    log = _log(max_messages=8)
    messages = _append(log, *(_message() for _ in range(8)))
    log.next_run(10, 1000)
    blocked = threading.Thread(target=log.append, args=(_message(),))
    blocked.start()
    while not log._blocked:
        time.sleep(0.001)
    log.settle(messages[:1])
    assert len(log._blocked) == 1
    log.settle(messages[1:2])
    blocked.join(5)
    assert not blocked.is_alive()


def test_every_message_has_a_number_and_an_id_of_its_own():
    log = _log()
    messages = _append(log, *(_message() for _ in range(20)))
    log.next_run(100, 1000)
    other = _log()
    (foreign,) = _append(other, _message())
    other.next_run(1, 1000)
    assert [message.number for message in messages] == list(range(1, 21))
    assert len({message.message_id for message in (*messages, foreign)}) == 21


@pytest.mark.parametrize("log", [_log(max_messages=2), _log(max_bytes=2)], ids=["count", "bytes"])
def test_a_full_log_blocks_until_there_is_room(log):
    first, _second = _append(log, _message(), _message())
    assert not log.append(_message(), timeout=0.01)
    log.next_run(10, 1000)
    assert not log.append(_message(), timeout=0.01)
    blocked = threading.Thread(target=log.append, args=(_message(),))
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    log.settle([first])
    blocked.join(30)
    assert not blocked.is_alive()


def test_a_message_larger_than_the_log_has_it_to_itself():
    log = _log(max_bytes=10)
    assert log.append(_message(b"x" * 11), timeout=0.01)
    assert not log.append(_message(), timeout=0.01)


def test_who_waits_for_room_is_told_of_the_end():
    log = _log(max_messages=1)
    _append(log, _message())
    errors = []

    def append():
        with pytest.raises(ClientClosedError) as caught:
            log.append(_message())
        errors.append(caught.value)

    blocked = threading.Thread(target=append)
    blocked.start()
    blocked.join(0.05)
    log.refuse_more(ClientClosedError("closed"))
    blocked.join(30)
    assert len(errors) == 1


def test_room_is_given_back_in_order():
    log = _log(max_messages=3)
    first, second, third = _append(log, _message(), _message(), _message())
    log.next_run(10, 1000)
    log.settle([second, third])
    assert len(log) == 3
    log.settle([first])
    assert len(log) == 0


def _send(*messages):
    sent = [message for message in messages if message.claim()]
    for message in sent:
        message.times_sent += 1
    return sent


def test_a_message_that_was_never_sent_can_be_withdrawn():
    log = _log()
    kept, withdrawn, last = _append(log, _message(), _message(waited_for=True), _message(waited_for=True))
    assert withdrawn.withdraw()
    assert log.next_run(10, 1000) == [kept, last]
    assert _send(kept, withdrawn, last) == [kept, last]
    assert not last.withdraw()
    assert log.unconfirmed() == [kept, last]
    log.settle([kept])
    assert not log.has_more()


def test_a_message_is_either_sent_or_withdrawn():
    message = _message(waited_for=True)
    assert message.withdraw()
    assert not message.claim()
    under_way = _message(waited_for=True)
    assert under_way.claim()
    assert not under_way.withdraw()


def test_failures_are_counted_and_told_once_with_the_first_cause():
    log = _log()
    messages = _append(log, *(_message() for _ in range(3)))
    log.fail(messages[:1], BridgeError("first"))
    log.fail(messages[1:], BridgeError("second"))
    with pytest.raises(UndeliveredError, match=r"3 messages were not stored; the first cause: first") as caught:
        log.raise_failures()
    assert caught.value.undelivered == 3
    assert str(caught.value.__cause__) == "first"
    log.raise_failures()


def test_failures_behind_a_count_are_left_to_the_next_call_with_a_cause_of_their_own():
    log = _log()
    messages = _append(log, *(_message() for _ in range(3)))
    log.fail(messages[:1], BridgeError("first"))
    counted = log.failed
    log.fail(messages[1:], BridgeError("second"))
    with pytest.raises(UndeliveredError, match=r"1 message was not stored; the first cause: first"):
        log.raise_failures(up_to=counted)
    with pytest.raises(UndeliveredError, match=r"2 messages were not stored; the first cause: second"):
        log.raise_failures()
    log.raise_failures(up_to=counted)


def test_who_waits_for_a_message_is_told_and_nobody_else():
    log = _log()
    (message,) = _append(log, _message(waited_for=True))
    waiting = threading.Thread(target=message.wait, args=(30,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    log.fail([message], BridgeError("refused"))
    waiting.join(30)
    assert not waiting.is_alive()
    log.raise_failures()
    assert str(message.error) == "refused"


def test_a_message_is_settled_once():
    log = _log()
    (message,) = _append(log, _message(waited_for=True))
    log.settle([message])
    log.fail([message], BridgeError("too late"))
    message.wait(0)
    assert message.settled
    assert message.error is None


def test_a_settled_message_is_no_failure():
    log = _log()
    messages = _append(log, _message(), _message())
    log.settle(messages[:1])
    log.fail(messages, BridgeError("too late"))
    with pytest.raises(UndeliveredError, match="1 message was"):
        log.raise_failures()


def test_a_barrier_waits_for_what_was_there_and_nothing_else():
    log = _log()
    (first,) = _append(log, _message())
    assert not _wait(log, 0.01)
    barrier = log.barrier()
    (second,) = _append(log, _message())
    log.has_more()
    assert not barrier.is_open
    log.settle([first])
    assert barrier.is_open
    assert not _wait(log, 0.01)
    log.settle([second])
    assert not log.has_more()
    assert _wait(log, 0.01)


def test_a_barrier_waits_for_the_very_messages_before_it_when_they_are_settled_out_of_order():
    log = _log()
    first, second = _append(log, _message(), _message())
    barrier = log.barrier()
    log.has_more()
    log.settle([second])
    assert not barrier.is_open
    log.settle([first])
    assert barrier.is_open


def test_an_empty_log_needs_no_loop_to_say_so():
    wake = Wakes()
    assert _wait(_log(wake=wake), 0)
    assert wake.count == 0


class Interrupt(BaseException):
    pass


def test_a_wake_that_is_interrupted_is_made_up_for_by_the_next_message():
    wakes = []

    def wake():
        wakes.append(1)
        if len(wakes) == 1:
            raise Interrupt

    log = _log(wake=wake)
    with pytest.raises(Interrupt):
        _append(log, _message())
    _append(log, _message(), _message())
    assert len(wakes) == 2
    assert len(log.next_run(10, 1000)) == 3


def test_a_nap_that_begins_while_the_loop_is_woken_is_ended_by_the_next_message():
    """The loop may see to the first message before the caller's thread goes on."""
    wakes = []

    def wake():
        wakes.append(1)
        log.settle(log.next_run(10, 1000))
        assert not log.has_more()

    log = _log(wake=wake)
    _append(log, _message(), _message())
    assert len(wakes) == 2
    assert len(log) == 0


def test_an_interrupt_before_the_message_is_taken_leaves_no_bytes_behind(monkeypatch):
    log = _log(max_bytes=10)

    def put(_item):
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(log, "_put", put)
        for _ in range(20):
            with pytest.raises(Interrupt):
                log.append(_message())
    assert log.append(_message(), timeout=0)
    log.has_more()
    assert log.append(_message(b"x" * 9), timeout=0)


def test_when_the_loop_ends_everything_fails_and_nothing_waits():
    log = _log(max_messages=2)
    event_, output = _append(log, _message(), _message(waited_for=True))
    barrier, caught = log.barrier(), []

    def append():
        with pytest.raises(BridgeError) as error:
            log.append(_message())
        caught.append(error.value)

    blocked = threading.Thread(target=append)
    blocked.start()
    blocked.join(0.05)
    log.end(BridgeError("the loop is dead"))
    blocked.join(30)
    assert barrier.is_open
    assert [str(error) for error in (event_.error, output.error, *caught)] == ["the loop is dead"] * 3
    with pytest.raises(BridgeError, match="dead"):
        log.append(_message())
    with pytest.raises(UndeliveredError, match="1 message was"):
        log.raise_failures()


def test_the_size_of_an_event_leaves_room_for_its_number():
    draft = event("e", "chunk", {"n": 1})
    assert Message("s.e", draft).size >= len(draft.numbered(10**18))
