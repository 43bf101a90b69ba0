"""TLS to NATS: what a bridge trusts, and that it sends nothing in clear text where TLS is required."""

import logging
import socket
import subprocess
import time
import uuid

import pytest
from support.clear_text import HOST, ClearTextServer
from support.jetstream import create_streams
from support.round_trip import publish

from flow_client import BridgeError, NatsBridge, UndeliveredError
from flow_client._core.deadline import Deadline
from flow_client._nats.servers import resolve_servers
from flow_client.local.nats_server import NatsServer

EXECUTION = str(uuid.uuid4())
SECRET = "s3cret"


@pytest.fixture
def start(tmp_path):
    """Starts a server with settings of the test's own."""
    servers = []

    def start(settings, token=SECRET, port=0):
        server = NatsServer(tmp_path / f"server-{len(servers)}", token, port, settings=settings)
        servers.append(server.start())
        return server

    yield start
    for each in servers:
        each.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate authority, and the certificates of a server and of a client. No test changes them."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    signs = ("-addext", "keyUsage=critical,keyCertSign")  # Python 3.13 asks for it
    openssl("req", "-x509", *new_key, "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2", *signs)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    for name in ("server", "client"):
        openssl("req", *new_key, f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder


@pytest.fixture
def tls(certificates):
    """The settings of a server that requires TLS."""
    return {
        "tls": {
            "cert_file": str(certificates / "server.pem"),
            "key_file": str(certificates / "server.key"),
            "ca_file": str(certificates / "ca.pem"),
        },
    }


@pytest.fixture
def trusted(certificates, monkeypatch):
    """An environment that trusts the servers of the test."""
    monkeypatch.setenv("NATS_CA", str(certificates / "ca.pem"))


@pytest.fixture
def tls_url(start, tls, trusted, certificates, monkeypatch):
    """A server that asks for the client's certificate, and an environment that has it."""
    server = start({"authorization": {}, "tls": {**tls["tls"], "verify": True}})
    for variable, name in {"NATS_CERT": "client.pem", "NATS_KEY": "client.key"}.items():
        monkeypatch.setenv(variable, str(certificates / name))
    return f"tls://{HOST}:{server.port}"


def login():
    return {"tls": resolve_servers(f"tls://{HOST}").tls.context()}


def test_certificates_open_a_server_with_tls(tls_url):
    create_streams(tls_url, login=login())
    assert publish(tls_url) == [1, 2]


def test_a_client_without_its_certificate_is_not_let_in(tls_url, monkeypatch):
    monkeypatch.delenv("NATS_CERT")
    monkeypatch.delenv("NATS_KEY")
    with pytest.raises(BridgeError), NatsBridge(tls_url, connect_timeout=2, publish_timeout=3) as bridge:
        bridge.publish_execution_status(EXECUTION, "running")


def test_a_server_that_nobody_vouches_for_is_not_trusted(tls_url, monkeypatch, certificates):
    monkeypatch.setenv("NATS_CA", str(certificates / "client.pem"))
    with pytest.raises(BridgeError), NatsBridge(tls_url, connect_timeout=2, publish_timeout=3) as bridge:
        bridge.publish_execution_status(EXECUTION, "running")


def test_a_certificate_for_another_name_is_not_trusted(start, tls, trusted):
    url = f"tls://{SECRET}@localhost:{start(tls).port}"
    with pytest.raises(BridgeError, match="certificate"), NatsBridge(url, connect_timeout=2) as bridge:
        bridge.publish_execution_status(EXECUTION, "running")


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_tls_is_spoken_where_the_server_only_offers_it(start, tls, trusted, scheme):
    server = start({**tls, "allow_non_tls": True, "debug": True})
    create_streams(server.url)
    assert publish(server.url.replace("nats:", f"{scheme}:")) == [1, 2]
    # The two connections of the bridge.
    assert (server._folder / "nats.log").read_text().count("TLS handshake complete") == 2


def test_the_end_of_a_healthy_connection_is_logged_nowhere(tls_url, caplog):
    create_streams(tls_url, login=login())
    caplog.clear()  # plain nats-py is not silent
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert publish(tls_url) == [1, 2]
    assert caplog.messages == []


@pytest.mark.parametrize("refusal", ["by the server", "by the client"])
def test_refused_tls_is_logged_once(tls_url, monkeypatch, certificates, caplog, refusal):
    if refusal == "by the client":
        monkeypatch.setenv("NATS_CA", str(certificates / "client.pem"))
    else:
        monkeypatch.delenv("NATS_CERT")
        monkeypatch.delenv("NATS_KEY")
    with caplog.at_level(logging.WARNING), NatsBridge(tls_url, close_timeout=0.1) as bridge:
        bridge.push_execution_event(None, EXECUTION, "chunk", 1)
        time.sleep(5)
        before = list(caplog.messages)
        # What the server says is lost if it has closed the connection before the client has written all.
        with pytest.raises(UndeliveredError, match=r"certificate|Broken pipe|reset"):
            bridge.close()
    assert len(before) == 1
    assert "cannot connect to NATS" in before[0]


def call_over_the_connection(bridge):
    return bridge.fetch_execution_input(None, EXECUTION, timeout=5)


def call_over_a_delivery_session(bridge):
    bridge.publish_execution_status(EXECUTION, "running")


CALLS = [call_over_the_connection, call_over_a_delivery_session]


@pytest.mark.parametrize("login", ["user:s3cret@", "s3cret@", ""])
@pytest.mark.parametrize("scheme", ["tls", "nats"])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_sent_in_clear_text(certificates, monkeypatch, scheme, login, call):
    if scheme == "nats":
        monkeypatch.setenv("NATS_CA", str(certificates / "ca.pem"))
    with ClearTextServer() as server, NatsBridge(f"{scheme}://{login}{HOST}:{server.port}") as bridge:
        started = time.monotonic()
        with pytest.raises(BridgeError, match=f"{server.port} does not offer TLS.*nothing was sent") as caught:
            call(bridge)
        assert time.monotonic() - started < 10
        assert "s3cret" not in str(caught.value)
        assert server.connections >= 1
        assert server.received == b""


@pytest.mark.parametrize("call", CALLS)
def test_one_tls_url_requires_tls_of_all_servers(call):
    with ClearTextServer() as one, ClearTextServer() as two:
        url = f"nats://user:{SECRET}@{HOST}:{one.port},tls://{HOST}:{two.port}"
        with NatsBridge(url) as bridge, pytest.raises(BridgeError, match="does not offer TLS"):
            call(bridge)
        assert (one.connections > 0, two.connections > 0) == (True, True)
        assert one.received + two.received == b""


def test_a_server_without_tls_is_passed_over_for_one_that_has_it(start, tls, trusted):
    with ClearTextServer() as clear:
        server = start(tls)
        url = f"{server.url.replace('nats:', 'tls:')},tls://{HOST}:{clear.port}"
        create_streams(server.url, login=login())
        for _ in range(5):
            assert publish(url) == [1, 2]
        assert clear.received == b""


def test_nothing_is_sent_in_clear_text_when_the_connection_is_made_again(start, tls, trusted, eventually):
    server = start(tls)
    create_streams(server.url, login=login())
    with NatsBridge(server.url, publish_timeout=2, close_timeout=0.5) as bridge:
        bridge.publish_execution_status(EXECUTION, "running")
        bridge.push_execution_event(None, EXECUTION, "chunk", 1)
        assert next(bridge.events(EXECUTION)).event_data == 1
        server.stop()
        with ClearTextServer(port=server.port) as clear:
            with pytest.raises(BridgeError):
                bridge.publish_execution_status(EXECUTION, "completed")
            with pytest.raises(BridgeError):
                bridge.fetch_execution_input(None, EXECUTION, timeout=2)
            assert eventually(lambda: clear.connections >= 4)
            bridge.close()
        assert clear.received == b""


def free_port():
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def test_nothing_is_sent_in_clear_text_to_a_server_that_the_cluster_makes_known(start, tls, trusted, eventually):
    routes = [f"nats://{HOST}:{free_port()}" for _ in range(2)]
    with ClearTextServer() as clear:
        advertised = f"{HOST}:{clear.port}"
        known, other = (
            start({**tls, "jetstream": False, "cluster": {"name": "c", "listen": route[7:], "routes": routes}, **more})
            for route, more in zip(routes, [{}, {"client_advertise": advertised}], strict=True)
        )

        with NatsBridge(known.url) as bridge:
            client = bridge._run(bridge._runtime.connection.client, Deadline(5), timeout=5)
            assert eventually(lambda: advertised in [server.netloc for server in client.servers])
            known.stop()
            other.stop()
            assert eventually(lambda: clear.connections >= 3)
        assert clear.received == b""


def test_a_server_that_nobody_vouches_for_makes_no_other_servers_known(trusted):
    with ClearTextServer() as evil, ClearTextServer({"connect_urls": [f"{HOST}:{evil.port}"]}) as clear:
        with NatsBridge(f"tls://{HOST}:{clear.port}") as bridge, pytest.raises(BridgeError):
            call_over_the_connection(bridge)
        assert evil.connections == 0
