"""Fixtures of all tests: no setting of the developer's shell reaches a test."""

import signal

import pytest
from support.http import HttpServer

from flow_client import PlatformClient

VARIABLES = (
    *("PLATFORM_API_URL", "AUTH_TOKEN", "ORG_ID", "WORKSPACE_ID", "RING_ID", "PLATFORM_TIMEOUT_SECONDS", "NATS_URL"),
    *("NATS_CREDS", "NATS_NKEY_SEED", "NATS_CA", "NATS_CERT", "NATS_KEY"),
    *("EXECUTION_ID", "DEPLOYMENT_ID", "PARENT_BILLING_TXN_ID", "LIFECYCLE_EVENT"),
)


# A shell has what it starts in the background ignore Ctrl-C, and so would every process of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


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
