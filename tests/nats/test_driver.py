"""What `_nats/driver.py` uses of nats-py's inside: with a new nats-py, these tests fail first."""

import asyncio
import inspect
import socket

import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport

from flow_client._nats.driver import EveryReply, close_client, new_client
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
