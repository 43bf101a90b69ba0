"""TLS: a certificate of our own, made for these tests."""

import ssl
import subprocess

import pytest
from support import faults
from support.proxy import TunnelProxy

import flow_client
from flow_client import PlatformClient


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and platform.test, and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:platform.test"]
    made = subprocess.run(
        [*command.split(), *names, "-keyout", "-", "-out", "-"], capture_output=True, check=True, timeout=60
    )
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def server(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with faults.RawServer(lambda _: [faults.answer()], context=context) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trust(monkeypatch, certificate):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))


def refused(url, **options):
    with (
        PlatformClient(url, "t-1", "o", "w", **options) as client,
        pytest.raises(flow_client.PlatformConnectionError) as caught,
    ):
        client.cancel_execution("e-1")
    return caught.value


def test_a_certificate_that_does_not_verify_is_not_tried_again_and_nothing_was_sent(server):
    error = refused(server.url)
    assert (error.stage, error.request_sent, error.attempts) == ("tls", False, 1)
    assert "self-signed certificate" in str(error).replace("self signed", "self-signed")
    assert (server.connections, server.requests) == (1, [])


def test_a_certificate_for_another_host_does_not_verify(server, trust):
    error = refused(server.url.replace("127.0.0.1", "localhost"))
    assert (error.stage, error.request_sent, error.attempts) == ("tls", False, 1)


def test_a_ca_bundle_of_the_environment_is_used(server, trust):
    with PlatformClient(server.url, "t-1", "o", "w") as client:
        for _ in range(3):
            assert client.get_execution_status("e-1").status == "completed"
    assert server.connections == 1


def test_a_request_through_a_tunnel_is_encrypted_and_goes_to_the_host_that_was_asked_for(server, trust, monkeypatch):
    with TunnelProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with PlatformClient("https://platform.test", "t-1", "o", "w") as client:
            for _ in range(2):
                assert client.get_execution_status("e-1").status == "completed"
    assert len(proxy.asked) == 1
    assert proxy.asked[0].startswith(b"CONNECT platform.test:443 HTTP/1.")
    assert b"Authorization: Bearer t-1\r\n" in server.requests[0]


def test_a_server_that_never_shakes_hands_is_given_up_at_the_deadline(machine):
    with faults.silent() as server:
        error = refused(server.url.replace("http:", "https:"), timeout=0.5)
    assert isinstance(error, flow_client.PlatformTimeoutError)
    assert (error.stage, error.request_sent) == ("connect", False)
    assert error.elapsed <= 0.75 + machine.excuse


def test_a_handshake_that_is_cut_is_tried_again():
    server = faults.RawServer(lambda _: [])
    server._serve = lambda connection: (connection.recv(1), connection.close())
    with server:
        error = refused(server.url.replace("http:", "https:"), max_attempts=2)
    assert (error.stage, error.request_sent, error.attempts) == ("connect", False, 2)
    assert server.connections == 2


def test_a_server_that_speaks_no_tls_is_an_error(http_server):
    error = refused(http_server.url.replace("http:", "https:"))
    assert (error.stage, error.request_sent, error.attempts) == ("tls", False, 1)


def test_a_body_that_drips_over_tls_is_given_up_at_the_deadline(certificate, trust, machine):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    pieces = [faults.OK + b"Content-Length: 1000\r\n\r\n", *[b" "] * 1000]
    with faults.RawServer(lambda _: pieces, pace=0.05, context=context) as server:
        error = refused(server.url, timeout=0.5)
    assert isinstance(error, flow_client.PlatformTimeoutError)
    assert (error.stage, error.request_sent) == ("body", True)
    assert error.elapsed <= 0.75 + machine.excuse
