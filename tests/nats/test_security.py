"""The credentials of a bridge, in files, on real servers that ask for them."""

import base64
import hashlib
import json
import logging
import os
import time
import uuid

import nkeys
import pytest
from support.jetstream import create_streams
from support.round_trip import publish

from flow_client import BridgeError, ConfigurationError, NatsBridge
from flow_client.local.nats_server import NatsServer

EXECUTION = str(uuid.uuid4())


def key_pair(kind):
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))


def text(key):
    return key.decode() if isinstance(key, bytes) else key


@pytest.fixture
def server(tmp_path):
    """Starts a server with settings of the test's own."""
    servers = []

    def start(settings):
        servers.append(NatsServer(tmp_path / "server", settings=settings).start())
        return f"nats://127.0.0.1:{servers[0].port}"

    yield start
    for each in servers:
        each.stop()


def test_an_nkey_opens_the_server(server, tmp_path, monkeypatch):
    user = key_pair(nkeys.PREFIX_BYTE_USER)
    seed = tmp_path / "user.nk"
    seed.write_bytes(bytes(user.seed))
    url = server({"authorization": {"users": [{"nkey": text(user.public_key)}]}})
    create_streams(url, login={"nkeys_seed": str(seed)})
    monkeypatch.setenv("NATS_NKEY_SEED", str(seed))
    assert publish(url) == [1, 2]


def signed(issuer, subject, name, claims):
    """Return a JWT in the form of NATS, signed by the key pair `issuer`."""

    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = {"iat": int(time.time()), "iss": text(issuer.public_key), "name": name, "sub": subject, "nats": claims}
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    content = f"{part(json.dumps(header).encode())}.{part(json.dumps(body).encode())}"
    return f"{content}.{part(issuer.sign(content.encode()))}"


UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
ACCOUNT = {
    **UNLIMITED,
    "conn": -1,
    "leaf": -1,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "mem_storage": -1,
    "disk_storage": -1,
    "streams": -1,
    "consumer": -1,
}


@pytest.fixture
def creds(tmp_path):
    """A credentials file of a user, and the settings of a server that trusts its operator."""
    operator, account, user, system = map(
        key_pair,
        [
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
            nkeys.PREFIX_BYTE_ACCOUNT,
        ],
    )
    system_id, account_id = text(system.public_key), text(account.public_key)
    accounts = {
        each: signed(operator, each, name, {"type": "account", "version": 2, "limits": limits})
        for each, name, limits in [
            (system_id, "system", {**ACCOUNT, "mem_storage": 0, "disk_storage": 0}),
            (account_id, "flow", ACCOUNT),
        ]
    }
    operator_id = text(operator.public_key)
    operator_claims = {"type": "operator", "version": 2, "system_account": system_id}
    user_jwt = signed(account, text(user.public_key), "worker", {"type": "user", "version": 2, **UNLIMITED})
    path = tmp_path / "worker.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{bytes(user.seed).decode()}\n------END USER NKEY SEED------\n"
    )
    settings = {
        "operator": signed(operator, operator_id, "operator", operator_claims),
        "system_account": system_id,
        "resolver": "MEMORY",
        "resolver_preload": accounts,
        "authorization": {},
    }
    return path, settings


def test_a_credentials_file_opens_the_server(server, creds, monkeypatch):
    path, settings = creds
    url = server(settings)
    create_streams(url, login={"user_credentials": str(path)})
    monkeypatch.setenv("NATS_CREDS", str(path))
    assert publish(url) == [1, 2]


def test_without_the_credentials_the_server_refuses(server, creds):
    url = server(creds[1])
    with pytest.raises(BridgeError, match="refused"):
        publish(url)


@pytest.mark.parametrize("secret", [f"SU{'A' * 56}", f"-----BEGIN NATS USER JWT-----\n{'A' * 300}"])
@pytest.mark.parametrize("variable", ["NATS_CREDS", "NATS_NKEY_SEED", "NATS_KEY"])
def test_a_secret_that_stands_where_its_file_should_is_not_shown(monkeypatch, variable, secret):
    monkeypatch.setenv(variable, secret)
    with pytest.raises(ConfigurationError, match=f"{variable} is the secret itself") as caught:
        NatsBridge("nats://127.0.0.1:9")
    assert "AAA" not in str(caught.value)


@pytest.mark.parametrize("variable", ["NATS_CREDS", "NATS_NKEY_SEED", "NATS_CA", "NATS_CERT"])
def test_a_file_that_is_not_there_is_named(variable, monkeypatch):
    monkeypatch.setenv(variable, "/nowhere/at/all")
    with pytest.raises(ConfigurationError, match=f"{variable}.*/nowhere/at/all"):
        NatsBridge("nats://127.0.0.1:4222")


def test_a_file_that_is_no_certificate_is_an_error_at_the_start(monkeypatch, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    monkeypatch.setenv("NATS_CA", str(path))
    with pytest.raises(ConfigurationError, match="NATS_CA"):
        NatsBridge("nats://127.0.0.1:4222")


def test_two_ways_to_say_who_we_are_are_one_too_many(monkeypatch, tmp_path):
    path = tmp_path / "seed"
    path.write_text("x")
    monkeypatch.setenv("NATS_CREDS", str(path))
    monkeypatch.setenv("NATS_NKEY_SEED", str(path))
    with pytest.raises(ConfigurationError, match="both set"):
        NatsBridge("nats://127.0.0.1:4222")


def test_no_secret_is_shown(server, creds, monkeypatch, caplog):
    path, settings = creds
    seed = path.read_text().split("SEED-----\n")[1].split("\n")[0]
    url = server(settings)
    create_streams(url, login={"user_credentials": str(path)})
    monkeypatch.setenv("NATS_CREDS", str(path))
    with caplog.at_level(logging.DEBUG), NatsBridge(url) as bridge:
        bridge.publish_execution_status(EXECUTION, "running")
        shown = caplog.text + repr(bridge) + repr(bridge._servers) + repr(bridge.stats())
    assert seed not in shown
