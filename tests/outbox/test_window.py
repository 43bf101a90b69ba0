"""Messages follow each other without waiting, and what came of them is found out afterwards."""

import asyncio
import threading
import uuid

import pytest
from support.bus import Bus
from support.jetstream import create_streams, read_events

from flow_client import BridgeError, UndeliveredError
from flow_client._nats.errors import WrongSequenceError
from flow_client._nats.outbox.backlog import Backlog, Message
from flow_client._nats.outbox.delivery import Delivery
from flow_client._nats.outbox.publication import Outgoing, UnconfirmedError, headers
from flow_client._nats.outbox.session import Session
from flow_client._nats.outbox.window import MAX_MESSAGES, Window
from flow_client._nats.payloads import event
from flow_client._nats.servers import resolve_servers
from flow_client.local.nats_server import NatsServer

TIMEOUT = 30.0


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory):
    """A server whose streams take no batches: the bus and the bridge are its own."""
    with NatsServer(tmp_path_factory.mktemp("window")) as server:
        create_streams(server.url, "window")
        yield server


class Publisher:
    """A backlog, its delivery and a session, in the loop of the test: nothing is sent or read but when it awaits."""

    def __init__(self, session_of):
        self.backlog = Backlog(100_000, 2**30, lambda: None)
        self.delivery = Delivery(self.backlog, lambda: None, lambda: None)
        self._session_of = session_of
        self.session = None

    async def __aenter__(self):
        self.session = await self._session_of(self.delivery)
        await self.delivery.begin(self.session)
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    def push(self, execution_id, *data):
        messages = [Message(f"exec.events.{execution_id}", event(execution_id, "chunk", value)) for value in data]
        for message in messages:
            self.backlog.append(message)
        return messages

    async def send(self):
        while self.backlog.has_more():
            await self.delivery.send_next(self.session)

    async def flush(self):
        await self.send()
        await self.session.window.until(self.session.window.is_empty)

    @property
    def on_their_way(self):
        return [message.sequence for message in self.session.window.unanswered()]


def _publish(server, scenario):
    """Run the coroutine function `scenario` with a publisher, in a loop of its own."""

    def session_of(delivery):
        return Session.open(resolve_servers(server.url), TIMEOUT, delivery)

    async def run():
        async with Publisher(session_of) as publisher:
            await scenario(publisher)

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def _data(server, execution_id):
    return [event["event_data"] for event in read_events(server.url, execution_id)]


def test_later_messages_do_not_wait_for_the_answers_to_earlier_ones(nats_server, execution_id):
    async def scenario(publisher):
        publisher.push(execution_id, *range(10))
        await publisher.send()  # it waits for the first one, behind which the others go
        assert publisher.on_their_way == list(range(2, 11))
        for number in range(10, 15):
            publisher.push(execution_id, number)
            await publisher.send()
        assert publisher.on_their_way == list(range(2, 16))
        await publisher.flush()
        assert len(publisher.backlog) == 0

    _publish(nats_server, scenario)
    assert _data(nats_server, execution_id) == list(range(15))


def test_the_first_message_of_a_subject_is_waited_for_by_its_successors_only(nats_server):
    first, second, third = (str(uuid.uuid4()) for _ in range(3))

    async def scenario(publisher):
        publisher.push(first, 1)
        publisher.push(second, 1)
        await publisher.send()
        publisher.push(third, 1)
        await publisher.delivery.send_next(publisher.session)
        for execution_id in (first, second, third):
            publisher.push(execution_id, 2)
        await publisher.flush()

    _publish(nats_server, scenario)
    assert [_data(nats_server, execution_id) for execution_id in (first, second, third)] == [[1, 2]] * 3


def test_what_is_on_its_way_is_limited(nats_server, execution_id):
    most = 0

    async def scenario(publisher):
        nonlocal most
        publisher.push(execution_id, *range(3 * MAX_MESSAGES))
        while publisher.backlog.has_more():
            await publisher.delivery.send_next(publisher.session)
            most = max(most, len(publisher.on_their_way))
        await publisher.flush()

    _publish(nats_server, scenario)
    assert MAX_MESSAGES / 4 <= most <= MAX_MESSAGES
    assert _data(nats_server, execution_id) == list(range(3 * MAX_MESSAGES))


def test_an_output_is_sent_when_all_events_before_it_are_stored(nats_server, bus, execution_id):
    async def scenario(publisher):
        publisher.push(execution_id, *range(50))
        await publisher.send()
        publisher.backlog.append(Message(f"exec.output.{execution_id}", b'{"output": 1}'))
        await publisher.send()
        assert publisher.delivery.stored_count == 50
        await publisher.flush()

    _publish(nats_server, scenario)
    assert len(bus.outputs(execution_id)) == 1


def test_a_message_that_is_refused_in_the_middle_is_told_and_those_around_it_are_stored_in_order(
    bridge, nats_server, execution_id
):
    bridge.push_execution_event(None, execution_id, "chunk", 1)
    bridge.flush()
    taken = f"{bridge._runtime.outbox._backlog._name}-4"
    Bus(nats_server.url).publish("exec.events.another", b"{}", {"Nats-Msg-Id": taken})
    pushed = threading.Event()
    bridge._runtime.thread.post(lambda: pushed.wait(30))  # what comes meanwhile is one run
    for number in range(2, 8):
        bridge.push_execution_event(None, execution_id, "chunk", number)
    pushed.set()
    with pytest.raises(UndeliveredError, match="another message has the id") as caught:
        bridge.flush()
    assert caught.value.undelivered == 1
    bridge.push_execution_event(None, execution_id, "chunk", 8)
    bridge.flush()
    assert _data(nats_server, execution_id) == [1, 2, 3, 5, 6, 7, 8]
    assert bridge.stats().sessions == 1


def test_nothing_is_sent_after_a_doubt_even_if_it_comes_amid_sending(nats_server, execution_id):
    async def scenario(publisher):
        publisher.push(str(uuid.uuid4()), 1)
        await publisher.send()
        (message,) = publisher.push(execution_id, 1)
        asyncio.get_running_loop().call_soon(publisher.session.window.abandon, "a doubt")
        with pytest.raises(UnconfirmedError, match="a doubt"):
            await publisher.send()  # it reads the last event of the subject first
        assert (message.times_sent, message.sequence) == (0, 0)

    _publish(nats_server, scenario)
    assert _data(nats_server, execution_id) == []


def test_all_ids_behind_a_place_are_found_among_those_of_others(nats_server, execution_id):
    other = str(uuid.uuid4())

    async def scenario(publisher):
        mine = []
        for number in range(150):
            mine += publisher.push(execution_id, number)
            for _ in range(number % 5):
                publisher.push(other, number)
        await publisher.flush()
        stream = await publisher.session.stream("exec.events", f"exec.events.{execution_id}")
        last = await publisher.session.last_stored(stream, f"exec.events.{execution_id}")
        for position in (0, last.stream_sequence - 1, last.stream_sequence):
            found = await publisher.session.ids_after(stream, f"exec.events.{execution_id}", position)
            expected = {0: 150, last.stream_sequence - 1: 1, last.stream_sequence: 0}[position]
            assert found == [message.message_id for message in mine[len(mine) - expected :]]

    _publish(nats_server, scenario)


class Told:
    """Notes what it is told of messages."""

    def __init__(self):
        self.of_stored, self.of_repeated, self.of_refused, self.failures = [], [], [], 0

    def stored(self, messages):
        self.of_stored += messages

    def repeated(self, message):
        self.of_repeated.append(message)

    def refused(self, message, error):
        self.of_refused.append((message, error))

    def failed(self):
        self.failures += 1


def _in_window(test):
    """Call `test` with a window that has three messages on their way, those messages, and what is told of them."""

    async def run():
        told, written = Told(), []
        window = Window(told, written.append, "replies")
        messages = [Message("s.1", b"x") for _ in range(3)]
        window.publish([Outgoing(message, b"x", headers("id", None)) for message in messages])
        assert written == [b"".join(_command(number) for number in (1, 2, 3))]
        test(window, messages, told)

    asyncio.run(run())


def _command(number):
    return b"HPUB s.1 replies.%d 29 30\r\nNATS/1.0\r\nNats-Msg-Id: id\r\n\r\nx\r\n" % number


def test_acks_in_order_settle_the_messages():
    def test(window, messages, told):
        window.on_acks([(1, 7), (2, 8)])
        window.on_acks([(1, 7)])  # once more
        window.on_answer(["3"], {"stream": "s", "seq": 9})
        assert told.of_stored == list(zip(messages, (7, 8, 9), strict=True))
        assert window.is_empty()
        assert not window.carries("s.1")
        assert (window.unanswered_bytes, window.needs_attention(), told.failures) == (0, False, 0)

    _in_window(test)


def test_a_message_that_is_passed_over_ends_the_session():
    def test(window, messages, told):
        window.on_acks([(1, 7), (3, 8)])
        assert told.of_stored == [(messages[0], 7), (messages[2], 8)]
        assert told.failures == 1
        with pytest.raises(UnconfirmedError, match="passed over"):
            window.raise_failure()

    _in_window(test)


@pytest.mark.parametrize("error", [{"code": 503}, {"code": 429}, {"code": 400, "err_code": 10158}])
def test_a_message_that_may_be_taken_later_ends_the_session(error):
    def test(window, _messages, told):
        window.on_answer(["2"], {"error": {**error, "description": "not now"}})
        assert (told.failures, told.of_refused) == (1, [])
        with pytest.raises(UnconfirmedError, match="not now"):
            window.raise_failure()

    _in_window(test)


@pytest.mark.parametrize(("code", "kind"), [(10071, WrongSequenceError), (10077, BridgeError)])
def test_a_refusal_may_overtake_the_answers_to_earlier_messages(code, kind):
    def test(window, messages, told):
        window.on_answer(["2"], {"error": {"code": 400, "err_code": code, "description": "no"}})
        window.on_acks([(1, 7), (3, 8)])
        ((refused, error),) = told.of_refused
        assert (refused, type(error)) == (messages[1], kind)
        assert told.of_stored == [(messages[0], 7), (messages[2], 8)]
        assert (window.needs_attention(), window.is_empty(), told.failures) == (True, True, 0)

    _in_window(test)


def test_a_repetition_is_told_and_seen_to():
    def test(window, messages, told):
        window.on_answer(["1"], {"stream": "s", "seq": 3, "duplicate": True})
        assert told.of_repeated == [messages[0]]
        assert window.needs_attention()

    _in_window(test)
