"""Where NATS is, and who we are there."""

import traceback

import pytest

from flow_client import ConfigurationError, NatsBridge
from flow_client._nats.servers import resolve_servers


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("nats://a", ("nats://a:4222",)),
        ("a:5", ("nats://a:5",)),
        ("tls://a, nats://[::1]:7,", ("tls://a:4222", "nats://[::1]:7")),
    ],
)
def test_one_server_or_a_cluster(url, addresses):
    assert resolve_servers(url).urls == addresses


@pytest.mark.parametrize(
    ("url", "required"), [("nats://a,nats://b", False), ("tls://a", True), ("nats://a,tls://b", True)]
)
def test_one_tls_url_requires_tls_of_all(url, required):
    assert resolve_servers(url).require_tls is required


def test_credentials_are_decoded_and_shown_nowhere():
    servers = resolve_servers("nats://one,nats://us%40er:p%3Aw@two")
    assert (servers.user, servers.password, servers.token) == ("us@er", "p:w", None)
    assert resolve_servers("nats://to%2Fken@h").token == "to/ken"
    assert str(servers) == "nats://one:4222,nats://two:4222"
    assert "us@er" not in repr(servers)
    assert "p:w" not in repr(servers)


@pytest.mark.parametrize(
    "url", ["http://h", "nats://", "nats://u:secret/@h", "nats://h:0", "nats://h:secret", ",", "nats://[h"]
)
def test_an_unusable_url_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigurationError, match=r"nats_url.*NATS_URL") as caught:
        resolve_servers(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_url_names_the_argument_and_the_variable():
    with pytest.raises(ConfigurationError, match=r"nats_url.*NATS_URL"):
        NatsBridge()


def test_the_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("NATS_URL", "nats://env")
    assert resolve_servers(None).urls == ("nats://env:4222",)
    assert resolve_servers("").urls == ("nats://env:4222",)
    assert resolve_servers("nats://arg").urls == ("nats://arg:4222",)


@pytest.mark.parametrize("setting", ["connect_timeout", "close_timeout", "publish_timeout"])
def test_a_bridge_checks_its_settings(setting):
    with pytest.raises(ConfigurationError, match=setting):
        NatsBridge("nats://h", **{setting: 0})
