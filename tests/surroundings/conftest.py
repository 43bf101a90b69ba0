"""Programs that use the client, started in processes of their own against a real server."""

import subprocess

import pytest
from surroundings.echo import EchoServer
from surroundings.launch import SECONDS, Programs


@pytest.fixture
def programs(tmp_path):
    started = Programs(tmp_path)
    yield started
    started.end_all()


@pytest.fixture
def serve():
    """Starts servers, stopped at the end."""
    servers = []

    def start(**options):
        servers.append(EchoServer(**options))
        return servers[-1].__enter__()

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself: `.pem` and `.key`."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", path.with_suffix(".key"), "-out", path)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subprocess.run(
        ["openssl", "req", "-x509", *new_key, *subject, *files],
        check=True,
        timeout=SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return path
