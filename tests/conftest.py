"""Fixtures of all tests: no setting of the developer's shell reaches a test."""

import os
import signal
import socket
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from support.bus import Bus
from support.http import HttpServer
from support.jetstream import create_streams, read_execution_ids
from support.lateness import Lateness

from flow_client import NatsBridge, PlatformClient
from flow_client.local import LocalPlatform
from flow_client.local.nats_server import NatsServer

VARIABLES = (
    *("PLATFORM_API_URL", "AUTH_TOKEN", "ORG_ID", "WORKSPACE_ID", "RING_ID", "PLATFORM_TIMEOUT_SECONDS", "NATS_URL"),
    *("NATS_CREDS", "NATS_NKEY_SEED", "NATS_CA", "NATS_CERT", "NATS_KEY"),
    *("EXECUTION_ID", "DEPLOYMENT_ID", "PARENT_BILLING_TXN_ID", "LIFECYCLE_EVENT"),
    *("AUTH_TOKEN_FILE", "AUTH_TOKEN_COMMAND", "FLOW_PROFILE"),
)


# Else each of the hundreds of processes that are started, and each one that runs tests, compiles our modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell has what it starts in the background ignore Ctrl-C, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere/of/the/tests")


@pytest.fixture
def http_server():
    with HttpServer() as server:
        yield server


@pytest.fixture
def make_client(http_server):
    """Makes clients of the recording server, closed at the end."""
    clients = []

    def make(**arguments):
        settings = {"base_url": http_server.url, "auth_token": "t-1", "org_id": "org-1", "workspace_id": "ws-1"}
        clients.append(PlatformClient(**{**settings, **arguments}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory):
    """A nats-server of the module's own, with the streams of the contract."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        create_streams(server.url)
        yield server


@pytest.fixture
def bus(nats_server):
    """The message bus of `nats_server`, as others see it."""
    return Bus(nats_server.url)


@pytest.fixture
def bridge(nats_server):
    """A bridge to `nats_server`."""
    with NatsBridge(nats_server.url) as bridge:
        yield bridge


@pytest.fixture
def execution_id():
    """An id that no other test uses."""
    return str(uuid.uuid4())


@pytest.fixture
def refusing_url():
    """A NATS URL where nobody listens, and nobody will: the port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"nats://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="session")
def components():
    """The manifest of components that end in every way an execution can end."""
    return Path(__file__).parent / "support" / "components" / "components.toml"


@pytest.fixture(scope="session")
def platform(components):
    """A local platform for all tests that leave it as it was. One that is left running has one of four slots."""
    with LocalPlatform(components, max_workers=4) as platform:
        yield platform


@pytest.fixture
def started(platform):
    """A function that returns the ids of the executions that were started on `platform` since the test began."""
    before = {*read_execution_ids(platform.nats_url)}
    return lambda: [each for each in read_execution_ids(platform.nats_url) if each not in before]


@pytest.fixture
def machine():
    """What this machine itself is late by while the test runs."""
    with Lateness() as lateness:
        yield lateness


def _is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def eventually():
    """A function that waits until a condition holds and says whether it did."""

    def wait(holds, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return wait


@pytest.fixture(scope="session")
def gone(eventually):
    """A function that waits until processes have ended and says whether they did."""
    return lambda *pids: eventually(lambda: not any(map(_is_running, pids)))
