"""What `_nats/driver.py` uses of nats-py's inside: with a new nats-py, these tests fail first."""

import asyncio
import inspect
import socket

import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from flow_client._nats.driver import EveryReply, close_client, new_client, read_acks, write
from flow_client._nats.servers import resolve_servers

INFO = b'INFO {"server_id":"x","version":"2.14.0","max_payload":1048576,"headers":true,"proto":1}\r\n'


def _parameters(function):
    return list(inspect.signature(function).parameters)


def test_a_client_has_what_is_reached_into():
    client = Client()
    assert client._transport is None
    assert client._pending == []
    assert client._pending_data_size == 0
    assert client._subs == {}
    assert client._reading_task is None
    assert type(client._ps) is Parser


def test_a_subscription_has_what_is_called():
    assert _parameters(Subscription._stop_processing) == ["self"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("connect", ["self", "uri", "buffer_size", "connect_timeout"]),
        ("connect_tls", ["self", "uri", "ssl_context", "buffer_size", "connect_timeout"]),
        ("readline", ["self"]),
        ("write", ["self", "payload"]),
        ("writelines", ["self", "payload"]),
        ("__bool__", ["self"]),
    ],
)
def test_a_transport_has_what_is_overridden(name, parameters):
    assert _parameters(getattr(TcpTransport, name)) == parameters


def test_a_parser_has_what_is_overridden_and_asked():
    assert _parameters(Parser.parse) == ["self", "data"]
    parser = Parser()
    assert (parser.buf, parser.state) == (bytearray(), AWAITING_CONTROL_LINE)


def test_a_transport_keeps_its_streams_where_they_are_cut():
    transport = TcpTransport()
    assert (transport._io_reader, transport._io_writer) == (None, None)


class HungServer:
    """Greets a client, answers its first PING, and reads no more: its window fills up."""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1024)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._hung = asyncio.Event()
        return self

    async def _serve(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(INFO)
        while b"PING" not in await reader.readline():
            pass
        writer.write(b"PONG\r\n")
        await self._hung.wait()
        writer.transport.abort()

    async def __aexit__(self, *_):
        self._hung.set()
        self._server.close()
        await self._server.wait_closed()


async def _connected(server):
    client = new_client(resolve_servers(server.url))
    await client.connect(server.url, allow_reconnect=False)
    return client


@pytest.mark.parametrize("drop_unsent", [False, True])
def test_closing_leaves_no_socket_open_however_the_server_hangs(drop_unsent):
    async def close():
        async with HungServer() as server:
            client = await _connected(server)
            transport = client._transport._io_writer.transport
            transport.write(b" " * 32 * 1024 * 1024)
            assert transport.get_write_buffer_size()
            await close_client(client, drop_unsent=drop_unsent)
            await asyncio.sleep(0)
            assert transport.get_extra_info("socket").fileno() == -1
            assert not [task for task in asyncio.all_tasks() if "nats" in repr(task.get_coro())]

    asyncio.run(asyncio.wait_for(close(), 20))


class SilentServer:
    """Accepts connections and never greets; `idle` is set while its clients hold none open."""

    async def __aenter__(self):
        self._open = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader, writer):
        self._open += 1
        self.idle.clear()
        try:
            await reader.read()
        finally:
            writer.transport.abort()
            self._open -= 1
            if not self._open:
                self.idle.set()

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_client_that_is_closed_while_it_connects_leaves_no_connection(steps):
    async def close_amid_connecting():
        async with SilentServer() as server:
            client = new_client(resolve_servers(server.url))
            opening = asyncio.ensure_future(client.connect(server.url, max_reconnect_attempts=-1))
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            await close_client(client)
            await asyncio.wait({opening}, timeout=5)
            assert opening.cancelled()
            await asyncio.sleep(0.05)  # what was connected is accepted by now
            await server.idle.wait()

    asyncio.run(asyncio.wait_for(close_amid_connecting(), 15))


def test_every_message_of_a_subscription_reaches_the_one_future(nats_server):
    async def receive():
        client = new_client(resolve_servers(nats_server.url))
        await client.connect(nats_server.url)
        replies = asyncio.Queue()
        await client.subscribe("replies.>", future=EveryReply(replies.put_nowait))
        for number in range(100):
            await client.publish(f"replies.{number}")
        # Not behind a flush(): its PING may overtake what nats-py holds back.
        subjects = [(await replies.get()).subject for _ in range(100)]
        await close_client(client)
        return subjects

    assert asyncio.run(asyncio.wait_for(receive(), 20)) == [f"replies.{number}" for number in range(100)]


def _message(subject, payload, *, size=None):
    return b"MSG %b 1 %d\r\n%b\r\n" % (subject, len(payload) if size is None else size, payload)


def _ack(number, position):
    return _message(b"replies.%d" % number, b'{"stream":"EVENTS", "seq":%d}' % position)


class Answers:
    """A client that reads what a server sends; `acks` and `messages` are what came of it, `numbers` those of both."""

    def __init__(self):
        self.acks, self.messages, self.numbers = [], [], []
        self._client = new_client(resolve_servers("nats://127.0.0.1"))
        read_acks(self._client, "replies", self._on_acks)
        self._client._subs[1] = Subscription(self._client, 1, "replies.>", future=EveryReply(self._on_message))

    def _on_acks(self, acks):
        self.acks += acks
        self.numbers += [number for number, _ in acks]

    def _on_message(self, message):
        self.messages.append(message)
        self.numbers.append(int(message.subject.split(".")[1]))

    @classmethod
    async def to(cls, *pieces):
        answers = cls()
        for piece in pieces:
            await answers._client._ps.parse(piece)
        return answers


def _cuts(text):
    return [(text[:place], text[place:]) for place in range(len(text) + 1)]


def test_acks_are_read_however_they_are_cut():
    async def read():
        acks = [(1, 7), (2, 9), (3, 123456)]
        for first, second in _cuts(b"".join(_ack(*ack) for ack in acks)):
            answers = await Answers.to(first, second)
            assert (answers.acks, answers.messages) == (acks, [])

    asyncio.run(read())


UNUSUAL = [
    _message(b"replies.2", b'{"error":{"code":400,"err_code":10071},"stream":"EVENTS","seq":0}'),
    _message(b"replies.2", b'{"stream":"EVENTS", "seq":9,"duplicate": true}'),
    _message(b"replies.2", b'{"stream":"EV\\"ENTS", "seq":9}'),
    _message(b"replies.2", b"no JSON"),
    _message(b"replies.2", b""),
    _message(b"replies.2.a.100.fail.1.2.$FI", b'{"stream":"EVENTS", "seq":9}'),
    _message(b"replies.2", b'{"stream":"EVENTS", "seq":9}\r\nMSG replies.5 1 2\r\n{}'),
    b"HMSG replies.2 1 30 30\r\nNATS/1.0 503 No Responders\r\n\r\n\r\n",
]


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_any_other_answer_goes_to_the_subscription_however_it_is_cut(unusual):
    async def read():
        for first, second in _cuts(_ack(1, 7) + unusual + _ack(3, 8)):
            answers = await Answers.to(first, second, _ack(4, 10))
            assert answers.numbers == [1, 2, 3, 4]
            assert 2 not in dict(answers.acks)
            assert answers.acks[-1] == (4, 10)

    asyncio.run(read())


def test_what_is_written_follows_what_is_held_back_and_needs_a_connection(nats_server):
    async def publish():
        client = new_client(resolve_servers(nats_server.url))
        with pytest.raises(ConnectionClosedError):
            write(client, b"PUB replies.1 0\r\n\r\n")
        await client.connect(nats_server.url)
        replies = asyncio.Queue()
        await client.subscribe("replies.>", future=EveryReply(replies.put_nowait))
        await client._send_command(b"PUB replies.1 0\r\n\r\n")
        write(client, b"PUB replies.2 0\r\n\r\n")
        await client.publish("replies.3")
        subjects = [(await replies.get()).subject for _ in range(3)]
        await close_client(client)
        return subjects

    assert asyncio.run(asyncio.wait_for(publish(), 20)) == ["replies.1", "replies.2", "replies.3"]
