"""The ordered log of what is not acknowledged."""

import threading

import pytest

from flow_client import BridgeError, ClientClosedError, UndeliveredError
from flow_client._message_log import Message, MessageLog
from flow_client._messages import event


class Wakes:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def _log(max_messages=100, max_bytes=1000, wake=None):
    return MessageLog(max_messages, max_bytes, wake or Wakes())


def _message(content=b"x", stream="s", *, waited_for=False):
    return Message(f"{stream}.1", content, waited_for=waited_for)


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


def test_a_failed_wake_leaves_nothing_behind_and_the_next_message_tries_again():
    def wake():
        raise BridgeError("no thread")

    log = _log(wake=wake)
    for _ in range(2):
        with pytest.raises(BridgeError, match="no thread"):
            log.append(_message())
    assert len(log) == 0


def test_a_run_is_what_goes_to_one_stream_within_the_limits():
    log = _log()
    first = _append(log, *(_message() for _ in range(5)))
    _append(log, _message(stream="t"))
    assert log.next_run(10, 1000) == list(first)
    assert log.next_run(3, 1000) == list(first[:3])
    assert log.next_run(10, 2) == list(first[:2])
    assert log.next_run(10, 0) == list(first[:1])


def test_every_message_has_a_number_and_an_id_of_its_own():
    log = _log()
    messages = _append(log, *(_message() for _ in range(20)))
    assert [message.number for message in messages] == list(range(1, 21))
    assert len({message.message_id for message in messages} | {_append(_log(), _message())[0].message_id}) == 21


@pytest.mark.parametrize("log", [_log(max_messages=2), _log(max_bytes=2)], ids=["count", "bytes"])
def test_a_full_log_blocks_until_there_is_room(log):
    first, _second = _append(log, _message(), _message())
    assert not log.append(_message(), timeout=0.01)
    blocked = threading.Thread(target=log.append, args=(_message(),))
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    log.settle([first])
    blocked.join(5)
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
    log.refuse_more()
    blocked.join(5)
    assert len(errors) == 1


def test_room_is_given_back_in_order():
    log = _log(max_messages=3)
    first, second, third = _append(log, _message(), _message(), _message())
    log.settle([second, third])
    assert len(log) == 3
    log.settle([first])
    assert len(log) == 0


def test_a_message_that_was_never_sent_can_be_withdrawn():
    log = _log()
    kept, withdrawn, last = _append(log, _message(), _message(waited_for=True), _message())
    assert log.withdraw(withdrawn)
    assert log.next_run(10, 1000) == [kept, last]
    assert log.send([kept, withdrawn, last]) == [kept, last]
    assert not log.withdraw(last)
    assert log.in_doubt() == [kept, last]
    log.settle([kept])
    assert not log.has_more()


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


def test_who_waits_for_a_message_is_told_and_nobody_else():
    log = _log()
    (message,) = _append(log, _message(waited_for=True))
    waiting = threading.Thread(target=message.wait, args=(5,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    log.fail([message], BridgeError("refused"))
    waiting.join(1)
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


def test_waiting_for_all_means_all_that_was_there():
    log = _log()
    (first,) = _append(log, _message())
    assert not log.wait_for_all(0.01)
    waiting = threading.Thread(target=log.wait_for_all, args=(5,))
    waiting.start()
    waiting.join(0.05)
    _append(log, _message())
    log.settle([first])
    waiting.join(1)
    assert not waiting.is_alive()


def test_the_size_of_an_event_leaves_room_for_its_number():
    draft = event("e", "chunk", {"n": 1})
    assert Message("s.e", draft).size >= len(draft.numbered(10**18))
