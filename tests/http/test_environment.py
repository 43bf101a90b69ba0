"""Proxies and CA bundles from the environment, over real proxies."""

import os

import pytest
from support import faults
from support.http import Answer, HttpServer
from support.proxy import TunnelProxy

import flow_client
from flow_client import PlatformClient

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ELSEWHERE = "http://platform.invalid"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy():
    """A forwarding proxy: it is asked for whole URLs, and answers for the platform."""
    with HttpServer() as server:
        yield server


def test_a_request_goes_through_the_proxy_of_the_environment(make_client, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert make_client(base_url=ELSEWHERE).get_execution_status("e-1").status == "completed"
    assert proxy.received[0].path.startswith(f"{ELSEWHERE}/api/v1/orgs/org-1/")
    assert proxy.received[0].headers["Authorization"] == "Bearer t-1"


def test_a_proxys_name_and_password_go_to_the_proxy(make_client, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:secret@"))
    make_client(base_url=ELSEWHERE).get_execution_status("e-1")
    assert proxy.received[0].headers["Proxy-Authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_no_proxy_is_honoured(client, http_server, proxy, monkeypatch, exempt):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    client.get_execution_status("e-1")
    assert (len(http_server.received), proxy.received) == (1, [])


def test_the_environment_is_looked_up_once_until_it_is_refreshed(client, http_server, proxy, monkeypatch):
    client.get_execution_status("e-1")
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    client.get_execution_status("e-1")
    assert (len(http_server.received), len(proxy.received)) == (2, 0)
    client.refresh_environment()
    client.get_execution_status("e-1")
    monkeypatch.delenv("HTTP_PROXY")
    client.get_execution_status("e-1")
    assert (len(http_server.received), len(proxy.received)) == (2, 2)
    client.refresh_environment()
    client.get_execution_status("e-1")
    assert (len(http_server.received), len(proxy.received)) == (3, 2)


class CountingEnviron(dict):
    """An environment that counts how often it is looked into."""

    looks = 0

    def __getitem__(self, name):
        self.looks += 1
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.looks += 1
        return super().get(name, default)

    def items(self):
        self.looks += 1
        return super().items()


def test_a_call_does_not_look_into_the_environment(client, monkeypatch):
    client.get_execution_status("e-1")
    environ = CountingEnviron(os.environ)
    monkeypatch.setattr(os, "environ", environ)
    client.get_execution_status("e-1")
    assert environ.looks == 0
    client.refresh_environment()
    client.get_execution_status("e-1")
    assert environ.looks > 0


def refused(client):
    with pytest.raises(flow_client.PlatformClientError) as caught:
        client.submit_workflow_execution("wf-1", {}, ring_id="r-1")
    return caught.value


def test_a_proxy_that_refuses_connections_means_that_nothing_was_sent(make_client, monkeypatch):
    with faults.silent() as gone:
        url = gone.url
    monkeypatch.setenv("HTTP_PROXY", url)
    error = refused(make_client(base_url=ELSEWHERE, max_attempts=2))
    assert isinstance(error, flow_client.PlatformConnectionError)
    assert (error.request_sent, error.stage, error.attempts) == (False, "connect", 2)


def test_an_answer_of_the_proxy_is_an_answer(make_client, proxy, monkeypatch):
    proxy.default = Answer(502, b"no upstream")
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    error = refused(make_client(base_url=ELSEWHERE, max_attempts=1))
    assert (type(error), error.detail) == (flow_client.PlatformServerError, "no upstream")


@pytest.mark.parametrize("status", [b"403 Forbidden", b"407 Proxy Authentication Required", b"502 Bad Gateway"])
def test_a_tunnel_that_is_refused_means_that_nothing_was_sent(make_client, monkeypatch, status):
    with faults.RawServer(lambda _: [b"HTTP/1.1 %b\r\n\r\n" % status, None]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = refused(make_client(base_url="https://platform.invalid", max_attempts=1))
    assert isinstance(error, flow_client.PlatformConnectionError)
    assert (error.request_sent, error.stage) == (False, "connect")
    assert status.split()[0].decode() in str(error)
    assert proxy.requests[0].startswith(b"CONNECT platform.invalid:443 ")
    assert b"t-1" not in proxy.requests[0]


@pytest.mark.parametrize("fault", [faults.silent, faults.dripping_head], ids=["silent", "dripping"])
def test_a_proxy_that_makes_no_tunnel_is_given_up_at_the_deadline(make_client, monkeypatch, fault, machine):
    with fault() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = refused(make_client(base_url="https://platform.invalid", timeout=0.5))
    assert isinstance(error, flow_client.PlatformTimeoutError)
    assert (error.request_sent, error.stage) == (False, "connect")
    assert error.elapsed <= 0.75 + machine.excuse


def test_a_handshake_in_a_tunnel_keeps_to_the_deadline(make_client, monkeypatch, machine):
    with faults.silent() as server, TunnelProxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = refused(make_client(base_url="https://platform.invalid", timeout=0.5))
    assert isinstance(error, flow_client.PlatformTimeoutError)
    assert (error.request_sent, error.stage) == (False, "connect")
    assert error.elapsed <= 0.75 + machine.excuse


@pytest.mark.parametrize("proxy_url", ["http://", "http://[::1", "ftp://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_makes_no_sense_is_our_error_and_not_retried(make_client, monkeypatch, proxy_url):
    monkeypatch.setenv("HTTP_PROXY", proxy_url)
    error = refused(make_client(base_url=ELSEWHERE))
    assert isinstance(error, flow_client.ConfigurationError)
    assert error.attempts == 1


def test_a_missing_ca_bundle_is_named_and_nothing_is_sent(make_client, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with faults.silent() as server:
        error = refused(make_client(base_url=server.url.replace("http:", "https:")))
        assert server.connections == 0
    assert isinstance(error, flow_client.ConfigurationError)
    assert "none.pem" in str(error)
    assert "REQUESTS_CA_BUNDLE" in str(error)


def test_a_ca_bundle_that_goes_away_later_is_our_error(make_client, monkeypatch, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with faults.silent() as server:
        client = make_client(base_url=server.url.replace("http:", "https:"), max_attempts=1)
        first = refused(client)
        bundle.unlink()
        second = refused(client)
    assert (first.stage, first.request_sent) == ("tls", False)
    assert (second.stage, second.request_sent) == ("connect", False)


def test_plain_http_needs_no_ca_bundle(client, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert client.get_execution_status("e-1").status == "completed"


@pytest.mark.parametrize("host", ["http://a b", "http://.", "http://*.x", "http://ex\u00e4mple..com", "http://1:99999"])
def test_a_host_that_cannot_be_one_is_our_error(host):
    with pytest.raises(flow_client.PlatformClientError) as caught, PlatformClient(host, "t-1", "o", "w") as client:
        client.get_execution_status("e-1")
    assert getattr(caught.value, "request_sent", False) is False
