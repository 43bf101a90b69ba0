"""Each check of the doctor, in a surrounding that is broken in just that way, and none alarms in a healthy one."""

import asyncio
import base64
import json
import multiprocessing
import re
import ssl
import subprocess
import sys
import time
from email.utils import formatdate

import pytest
from support import faults
from support.command_line import environment, flow, json_lines
from support.documents import ROOT
from support.http import Answer
from support.jetstream import create_streams
from support.proxy import TunnelProxy
from support.relay import Relay

from flow_client.cli.doctor import examine
from flow_client.cli.doctor.finding import CHECKS
from flow_client.local.nats_server import NatsServer

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NOT_FOUND = json.dumps({"detail": "There is no such execution."}).encode()


def jwt(**claims):
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2lnbmF0dXJl"])


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _no_multiprocessing():
    """Other tests have used it in this process, which forks as far as the doctor can tell."""
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)
    yield
    multiprocessing.set_start_method(method, force=True)


@pytest.fixture
def at_server(http_server, monkeypatch):
    """Have the settings name a server that answers as a platform does, and a token that never expires."""
    http_server.default = Answer(404, NOT_FOUND)
    settings = {"PLATFORM_API_URL": http_server.url, "AUTH_TOKEN": jwt(sub="me"), "ORG_ID": "o", "WORKSPACE_ID": "w"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return http_server


def found(**arguments):
    """Return the findings by name, all of them there and in their order."""
    findings = examine(**arguments)
    assert [finding.name for finding in findings] == list(CHECKS)
    return {finding.name: finding for finding in findings}


def alarms(findings):
    """Return what is not well. Each of them has a cure."""
    alarming = [each for each in findings.values() if each.status in ("failed", "warning")]
    assert all(finding.cure for finding in alarming)
    return {finding.name: finding.status for finding in alarming}


# --- healthy surroundings


def test_a_healthy_platform_has_no_alarm(at_platform):
    with at_platform.client() as client:
        execution_id = client.submit_workflow_execution("echo", {}).wait(60).execution_id
    done = flow("doctor", "--execution", execution_id, "--json")
    assert done.returncode == 0, done.stdout
    findings = {line["name"]: line for line in json_lines(done.stdout)}
    assert list(findings) == list(CHECKS)
    assert {name for name, line in findings.items() if line["status"] != "ok"} == {"tls-chain", "tls-name", "tls-time"}
    assert "holds requests" in findings["api-holds"]["message"]
    assert "takes batches" in findings["nats-batches"]["message"]
    assert at_platform.auth_token[:20] not in done.stdout


def test_a_platform_without_nats_and_without_held_requests_has_no_alarm(at_server):
    at_server.default = Answer(200, {"execution_id": "e-1", "status": "running"})
    findings = found(execution_id="e-1")
    assert alarms(findings) == {}
    assert "does not hold" in findings["api-holds"].message


def test_a_running_event_loop_has_no_alarm(at_platform):
    async def inside():
        return found()

    assert alarms(asyncio.run(inside())) == {}


def test_gevent_that_patches_first_has_no_alarm(at_platform):
    code = "import gevent.monkey; gevent.monkey.patch_all()\nimport flow_client.client\n"
    assert alarms_in(code) == {}


def test_a_trusted_certificate_and_a_proxy_that_tunnels_have_no_alarm(at_server, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    head = f"HTTP/1.1 404 Not Found\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: application/json\r\n".encode()
    with faults.RawServer(lambda _: [faults.answer(head, NOT_FOUND)], context=tls(certificate)) as server:
        findings = found(base_url=server.url)
        assert alarms(findings) == {}
        assert [findings[name].status for name in ("tls-chain", "tls-name", "tls-time", "clock")] == ["ok"] * 4
        with TunnelProxy(server.port) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            findings = found(base_url="https://platform.test")
            assert (alarms(findings), findings["proxy"].message.endswith("can be reached")) == ({}, True)


def test_plain_streams_and_a_password_have_no_alarm(at_server, nats_with):
    url = nats_with({"authorization": {"user": "flow", "password": "canary"}})
    create_streams(url, "window", login={"user": "flow", "password": "canary"})
    findings = found(nats_url=url.replace("//", "//flow:canary@"))
    assert alarms(findings) == {}
    assert "published plainly" in findings["nats-batches"].message
    assert "canary" not in str(findings)


# --- the process


def alarms_in(code, **variables):
    """Return the alarms in a process of its own in which `code` has run."""
    report = "\nfrom flow_client.cli.doctor import examine\nfor each in examine():\n    print(each.name, each.status)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + report],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment(**variables),
    )
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert list(lines) == list(CHECKS)
    return {name: status for name, status in lines.items() if status in ("failed", "warning")}


def test_threads_that_cannot_be_started(at_platform):
    code = (
        "import resource, threading\n"
        "import flow_client.cli.doctor, flow_client._nats.probe\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "threading.stack_size(1 << 31)\n"
    )
    assert alarms_in(code) == {"threads": "failed"}


def test_gevent_that_patches_late(at_platform):
    assert alarms_in("import flow_client.client\nimport gevent.monkey; gevent.monkey.patch_all()\n") == {
        "gevent": "failed"
    }


FORKING = """
import multiprocessing, threading
multiprocessing.set_start_method({method!r})
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.mark.parametrize(("method", "expected"), [("fork", {"fork": "warning"}), ("spawn", {})])
def test_a_process_with_threads_that_forks(at_platform, method, expected):
    assert alarms_in(FORKING.format(method=method)) == expected


@pytest.mark.parametrize(("name", "version"), [("requests", "2.0.0"), ("pydantic", "3.1"), ("niquests", "3.0")])
def test_versions_of_dependencies(at_platform, tmp_path, name, version):
    folder = tmp_path / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    assert alarms_in("", PYTHONPATH=str(tmp_path)) == {"dependencies": "failed"}


# --- settings and token


def test_a_profile_that_is_not_valid(at_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "flow-client").mkdir()
    (tmp_path / "flow-client" / "config.toml").write_text("[default")
    assert alarms(found()) == {"profile": "failed"}
    (tmp_path / "flow-client" / "config.toml").write_text("[default]\nring_id = 'r'\n")
    assert alarms(found()) == {}
    assert alarms(found(profile="none")) == {"profile": "failed"}


@pytest.mark.parametrize("variable", ["PLATFORM_API_URL", "ORG_ID", "WORKSPACE_ID"])
def test_a_setting_that_is_missing(at_server, monkeypatch, variable):
    monkeypatch.delenv(variable)
    findings = found()
    assert alarms(findings) == {"settings": "failed"}
    assert variable in f"{findings['settings'].message} {findings['settings'].cure}"


@pytest.mark.parametrize(
    "variables",
    [{}, {"AUTH_TOKEN_FILE": "/nowhere"}, {"AUTH_TOKEN_COMMAND": "false"}, {"AUTH_TOKEN": "a b"}],
    ids=str,
)
def test_a_token_that_cannot_be_had(at_server, monkeypatch, variables):
    monkeypatch.delenv("AUTH_TOKEN")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert alarms(found()) == {"token-source": "failed"}


def test_a_token_file_that_everybody_can_read(at_server, monkeypatch, tmp_path):
    monkeypatch.delenv("AUTH_TOKEN")
    monkeypatch.setenv("AUTH_TOKEN_FILE", str(tmp_path / "token"))
    (tmp_path / "token").write_text(jwt(sub="me"))
    (tmp_path / "token").chmod(0o644)
    assert alarms(found()) == {"token-source": "warning"}
    (tmp_path / "token").chmod(0o600)
    assert alarms(found()) == {}


HOUR = 3600


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("opaque", {"token-form": "warning"}),
        ("abc.def.ghi", {"token-form": "failed"}),
        ({"exp": -HOUR}, {"token-expiry": "failed"}),
        ({"exp": 45}, {"token-expiry": "warning"}),
        ({"nbf": HOUR}, {"token-expiry": "failed"}),
        ({"org_id": "other"}, {"token-scope": "failed"}),
        ({"workspace_id": "other"}, {"token-scope": "failed"}),
        ({"org_id": "o", "workspace_id": "w", "nbf": -HOUR, "exp": HOUR}, {}),
    ],
    ids=str,
)
def test_the_form_scope_and_expiry_of_a_token(at_server, monkeypatch, token, expected):
    """A number is a time from now on."""
    if isinstance(token, dict):
        token = jwt(**{name: time.time() + value if isinstance(value, int) else value for name, value in token.items()})
    monkeypatch.setenv("AUTH_TOKEN", token)
    findings = found()
    assert alarms(findings) == expected
    assert token not in str(findings)


# --- the way to the API


def test_a_host_without_an_address(at_server):
    assert alarms(found(base_url="http://no-such-host.invalid")) == {"dns": "failed"}


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:{port}", "socks5://127.0.0.1:{port}", "http://user:canary@[x"])
def test_a_proxy_that_is_of_no_use(at_server, monkeypatch, refusing_url, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy.format(port=refusing_url.rpartition(":")[2]))
    findings = found(base_url="http://platform.test")
    assert alarms(findings) == {"proxy": "failed"}
    assert "canary" not in str(findings)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certified(tmp_path_factory.mktemp("tls"), "-days", "2")


def certified(folder, *validity):
    """Make a certificate for 127.0.0.1 and platform.test that is its own authority, and its key, in one file."""
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nnew_certs_dir={folder}\nserial={folder}/serial\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=IP:127.0.0.1,DNS:platform.test\nbasicConstraints=critical,CA:TRUE\n"
        "keyUsage=keyCertSign,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        "[req]\ndistinguished_name=n\n[n]\n"
    )
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    key, request, signed = (str(folder / name) for name in ("key.pem", "request.pem", "signed.pem"))
    config = ["-config", str(folder / "ca.cnf")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-new", *curve, *config, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request)
    openssl("ca", "-batch", "-notext", "-selfsign", *config, *validity, "-keyfile", key, "-in", request, "-out", signed)
    path = folder / "both.pem"
    path.write_text((folder / "key.pem").read_text() + (folder / "signed.pem").read_text())
    return path


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], capture_output=True, check=True, timeout=60)


def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def tls_server(at_server, certificate):
    with faults.RawServer(lambda _: [faults.answer()], context=tls(certificate)) as server:
        yield server


def test_a_certificate_of_an_authority_that_nobody_knows(tls_server):
    assert alarms(found(base_url=tls_server.url)) == {"tls-chain": "failed"}


def test_a_ca_bundle_that_does_not_exist(tls_server, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert alarms(found(base_url=tls_server.url)) == {"tls-chain": "failed"}


def test_a_server_that_speaks_no_tls(at_server):
    assert alarms(found(base_url=at_server.url.replace("http", "https"))) == {"tls-chain": "failed"}


def test_a_certificate_for_another_host(tls_server, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert alarms(found(base_url=f"https://localhost:{tls_server.port}")) == {"tls-name": "failed"}


@pytest.mark.parametrize("dates", [("20200101000000Z", "20200102000000Z"), ("20980101000000Z", "20990101000000Z")])
def test_a_certificate_out_of_its_time(at_server, tmp_path, monkeypatch, dates):
    certificate = certified(tmp_path, "-startdate", dates[0], "-enddate", dates[1])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with faults.RawServer(lambda _: [faults.answer()], context=tls(certificate)) as server:
        assert alarms(found(base_url=server.url)) == {"tls-time": "failed"}


def test_an_api_that_nobody_answers_for(at_server, refusing_url):
    assert alarms(found(base_url=refusing_url.replace("nats", "http"))) == {"api-reachable": "failed"}


def test_an_api_that_hangs(at_server):
    with faults.RawServer(lambda _: [b""], pace=60) as server:
        assert alarms(found(base_url=server.url)) == {"api-reachable": "failed"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_is_refused(at_server, status):
    at_server.default = Answer(status, {"detail": "no"})
    assert alarms(found()) == {"api-login": "failed"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
        Answer(404, b"<html>nginx</html>", {"Content-Type": "text/html"}),
        Answer(301, b"", {"Location": "https://elsewhere.example.com"}),
        Answer(503, {"detail": "busy"}),
        Answer(200, {"hello": "world"}),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body!r:.10}",
)
def test_answers_that_are_not_the_platforms(at_server, answer):
    at_server.default = answer
    assert alarms(found()) == {"api-answers": "failed"}


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_clocks_that_differ(at_server, skew):
    date = formatdate(time.time() + skew, usegmt=True)
    head = f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Type: application/json\r\n".encode()
    with faults.RawServer(lambda _: [faults.answer(head, NOT_FOUND)]) as server:
        assert alarms(found(base_url=server.url)) == {"clock": "failed"}


# --- NATS


@pytest.fixture
def nats_with(tmp_path):
    """Starts a server with settings of the test's own, without streams."""
    servers = []

    def start(settings=None):
        servers.append(NatsServer(tmp_path / "nats", settings=settings).start())
        return f"nats://127.0.0.1:{servers[0].port}" if settings else servers[0].url

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("url", ["{refusing}", "http://x", "nats://no-such-host.invalid"])
def test_a_nats_that_nobody_answers_for(at_server, refusing_url, url):
    assert alarms(found(nats_url=url.format(refusing=refusing_url))) == {"nats-reachable": "failed"}


def test_a_server_that_is_no_nats(at_server):
    with faults.RawServer(lambda _: []) as other:
        assert alarms(found(nats_url=f"nats://127.0.0.1:{other.port}")) == {"nats-reachable": "failed"}


def test_a_cluster_of_which_a_server_is_missing(at_server, nats_server, refusing_url):
    assert alarms(found(nats_url=f"{nats_server.url},{refusing_url}")) == {"nats-reachable": "warning"}


def test_a_nats_login_that_is_refused(at_server, nats_with):
    url = nats_with({"authorization": {"user": "flow", "password": "canary"}})
    findings = found(nats_url=url.replace("//", "//flow:other@"))
    assert alarms(findings) == {"nats-login": "failed"}
    assert "other" not in findings["nats-login"].message


def test_streams_that_are_missing(at_server, nats_with):
    findings = found(nats_url=nats_with())
    assert alarms(findings) == {"nats-streams": "failed"}
    assert "exec.events.*" in findings["nats-streams"].message


def test_a_payload_limit_below_the_usual_one(at_server, nats_with):
    url = nats_with({"authorization": {"user": "flow", "password": "p"}, "max_payload": 65536})
    create_streams(url, login={"user": "flow", "password": "p"})
    assert alarms(found(nats_url=url.replace("//", "//flow:p@"))) == {"nats-payload": "warning"}


def test_a_long_way_to_nats(at_server, nats_server):
    address = nats_server.url
    with Relay(nats_server.port, delay=0.14) as relay:
        near, far = str(nats_server.port), str(relay.port)
        assert alarms(found(nats_url=address.replace(near, far))) == {"nats-round-trip": "warning"}


# --- whatever happens


def test_what_hangs_is_named_and_the_rest_is_told_in_time(at_server, monkeypatch):
    monkeypatch.delenv("AUTH_TOKEN")
    monkeypatch.setenv("AUTH_TOKEN_COMMAND", "sleep 20")
    started = time.monotonic()
    findings = found()
    assert time.monotonic() - started < 15
    assert alarms(findings) == {"token-source": "failed"}
    assert "not done after" in findings["token-source"].message


def test_the_exit_code_is_that_of_the_first_check_that_failed(at_server, refusing_url):
    assert flow("doctor", ORG_ID=None).returncode == 78
    assert flow("doctor", AUTH_TOKEN="abc.def.ghi").returncode == 77
    done = flow("doctor", "--nats-url", refusing_url)
    assert done.returncode == 69
    assert re.search(r"^failed   nats-reachable   nats://.*\n +-> ", done.stdout, re.MULTILINE)


def test_the_page_lists_all_checks_in_their_order():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \| .* \| (\d+) \|$", page, re.MULTILINE)
    assert [(name, int(code)) for name, code in listed] == list(CHECKS.items())
    assert len(CHECKS) >= 14
