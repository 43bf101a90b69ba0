"""The local platform: nats-server, the API and the runner as child processes."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_client._core.checks import LONGEST_SECONDS, seconds
from flow_client.local import tokens
from flow_client.local.errors import LocalPlatformError, SettingError
from flow_client.local.identifiers import ID_PATTERN, is_id
from flow_client.local.manifest import load
from flow_client.local.nats_server import NatsServer
from flow_client.local.preflight import check_nats_answers, reserve_port
from flow_client.local.processes.guarded import GuardedProcess
from flow_client.local.runner.handler_check import check_handlers
from flow_client.local.settings import (
    DEFAULT_ORG_ID,
    DEFAULT_RING_ID,
    DEFAULT_WORKSPACE_ID,
    WORKER_GRACE,
    ServiceSettings,
    default_max_workers,
)
from flow_client.local.store import Store

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from flow_client.client import PlatformClient

START_TIMEOUT = 30.0
"""Seconds that the API and the runner each have to get ready."""
_HOST = "127.0.0.1"
_LAST_PORT = 65535
_MOST_WORKERS = 10_000
_RUNNER_GRACE = WORKER_GRACE + 2
"""Seconds that the runner has to end: it waits for workers whose executions have just been cancelled."""
_API_GRACE = 3.0


class LocalPlatform:
    """A small real platform on this machine. Use it as a context manager.

    Its processes end with this one, however that ends. In a forked child of this process it does nothing.

    Args:
        components: the manifest, a TOML file; see `flow_client.local.manifest`.
        store_dir: the folder for executions, logs and the signing key. None means a temporary folder that is removed at
            the end.
        nats_url: a running NATS server with JetStream. None means that one is started.
        port: the API's port on the loopback interface; 0 means any free port.
        max_workers: how many executions run at the same time on each level of nesting. None means twice the number of
            CPUs, but at least four.
        org_id: the organisation for which tokens are issued.
        workspace_id: the workspace for which tokens are issued.
        ring_id: the ring that the runner serves.
        fresh_workers: whether each execution gets a newly started interpreter, instead of a fork of one that has
            imported what workers need. Only Linux forks; elsewhere it is always a new one.

    Raises:
        SettingError: one of these values is not valid.
    """

    def __init__(
        self,
        components: Path | str,
        *,
        store_dir: Path | str | None = None,
        nats_url: str | None = None,
        port: int = 0,
        max_workers: int | None = None,
        org_id: str = DEFAULT_ORG_ID,
        workspace_id: str = DEFAULT_WORKSPACE_ID,
        ring_id: str = DEFAULT_RING_ID,
        fresh_workers: bool = False,
    ) -> None:
        self.org_id: str = _identifier("org_id", org_id)
        self.workspace_id: str = _identifier("workspace_id", workspace_id)
        self.ring_id: str = _identifier("ring_id", ring_id)
        self._components = Path(components).resolve()
        self._store = Store(store_dir)
        self._nats_url = nats_url
        self._port = _whole_number("port", port, 0, _LAST_PORT)
        workers = default_max_workers() if max_workers is None else max_workers
        self._max_workers = _whole_number("max_workers", workers, 1, _MOST_WORKERS)
        self._fresh_workers = fresh_workers
        self._pid: int | None = None
        self._settings: ServiceSettings | None = None
        self._nats: NatsServer | None = None
        self._api: GuardedProcess | None = None
        self._runner: GuardedProcess | None = None

    @property
    def base_url(self) -> str:
        """The address of the API."""
        return self._running_settings.api_url

    @property
    def nats_url(self) -> str:
        """The address of NATS. It contains a secret."""
        return self._running_settings.nats_url

    @property
    def auth_token(self) -> str:
        """A new token for the platform's organisation and workspace."""
        return self.issue_token()

    @property
    def log_folder(self) -> Path:
        """The folder of the workers' logs: one `EXECUTION_ID.log` for each execution that ran here."""
        return self._running_settings.log_folder

    @property
    def nats(self) -> NatsServer | None:
        """The nats-server that this platform started, None if it uses another one."""
        return self._nats

    def issue_token(
        self, org_id: str | None = None, workspace_id: str | None = None, expires_in: float = tokens.DEFAULT_LIFETIME
    ) -> str:
        """Return a token for an organisation and workspace; None means the platform's own.

        Args:
            org_id: the organisation.
            workspace_id: the workspace.
            expires_in: seconds until the token expires. With 0 or less the token has already expired.

        Raises:
            InvalidRequestError: `expires_in` is not a number of seconds, or is too large.
            LocalPlatformError: the platform is not running.
        """
        if not (isinstance(expires_in, (int, float)) and -LONGEST_SECONDS <= expires_in <= 0):
            seconds(expires_in, "expires_in")
        key = self._running_settings.signing_key
        return tokens.issue(key, org_id or self.org_id, workspace_id or self.workspace_id, expires_in)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a client finds this platform."""
        return {
            "PLATFORM_API_URL": self.base_url,
            "AUTH_TOKEN": self.auth_token,
            "ORG_ID": self.org_id,
            "WORKSPACE_ID": self.workspace_id,
            "NATS_URL": self.nats_url,
            "RING_ID": self.ring_id,
        }

    def client(self, **settings: Any) -> PlatformClient:
        """Return a client of this platform and its ring. `settings` are further arguments of `PlatformClient`."""
        from flow_client.client import PlatformClient  # noqa: PLC0415 - the platform itself needs no client

        here = {
            "base_url": self.base_url,
            "auth_token": self.auth_token,
            "org_id": self.org_id,
            "workspace_id": self.workspace_id,
            "nats_url": self.nats_url,
            "ring_id": self.ring_id,
        }
        return PlatformClient(**{**here, **settings})

    def start(self) -> Self:
        """Start all processes and return when they are ready.

        Raises:
            ManifestError: the manifest is not usable. Nothing was started.
            SettingError: the port is in use, no NATS server answers, or the store is not writable.
            LocalPlatformError: another platform uses the store, or a process did not start; then the message ends with
                the end of its log.
        """
        if self._pid is not None:
            return self
        manifest = load(self._components)
        check_handlers(manifest)
        with reserve_port(_HOST, self._port) as port:
            if self._nats_url is not None:
                check_nats_answers(self._nats_url)
            self._pid = os.getpid()
            atexit.register(self.stop)
            try:
                self._start(port.getsockname()[1])
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """End all processes, in order and within a few seconds. Can be called twice. Does nothing in a forked child."""
        if self._pid != os.getpid():
            return
        services = [service for service in (self._runner, self._api) if service is not None]
        for service in services:
            service.terminate()
        for service in services:
            service.stop()
        if self._nats is not None:
            # Writing its streams out takes the server longest. Nobody will read those of a temporary store.
            (self._nats.kill if self._store.is_temporary else self._nats.stop)()
        self._runner = self._api = self._nats = self._settings = None
        self._store.close()
        atexit.unregister(self.stop)
        self._pid = None

    def unexpected_end(self) -> LocalPlatformError | None:
        """Return an error if one of the processes has ended by itself, else None."""
        processes = (self._nats, self._api, self._runner)
        ends = (process.unexpected_end() for process in processes if process is not None)
        return next(filter(None, ends), None)

    def _start(self, port: int) -> None:
        """Start all processes side by side: most of their start is importing."""
        store = self._store.open()
        self._settings = ServiceSettings(
            components=str(self._components),
            store=str(store),
            nats_url=self._nats_url or "",
            signing_key=self._store.signing_key(),
            ring_id=self.ring_id,
            port=port,
            max_workers=self._max_workers,
            api_url=f"http://{_HOST}:{port}",
            fresh_workers=self._fresh_workers,
        )
        with reserve_port(_HOST) as nats_port:
            if self._nats_url is None:
                self._nats = NatsServer(store / "nats", port=nats_port.getsockname()[1])
                self._nats.launch()
                self._settings = replace(self._settings, nats_url=self._nats.url)
            self._api = self._launch("api", _API_GRACE)
            self._runner = self._launch("runner", _RUNNER_GRACE)
            if self._nats is not None:
                self._nats.wait_until_ready()
        for service in (self._api, self._runner):
            service.announcement(START_TIMEOUT)

    def _start_api(self) -> None:
        self._api = self._launch("api", _API_GRACE)
        self._api.announcement(START_TIMEOUT)

    def _start_runner(self) -> None:
        self._runner = self._launch("runner", _RUNNER_GRACE)
        self._runner.announcement(START_TIMEOUT)

    def _launch(self, name: str, grace: float) -> GuardedProcess:
        settings = self._running_settings
        return GuardedProcess(
            [sys.executable, "-m", f"flow_client.local.{name}"],
            log=Path(settings.store) / f"{name}.log",
            env={**os.environ, **settings.environment()},
            announces=True,
            grace=grace,
        )

    @property
    def _running_settings(self) -> ServiceSettings:
        if self._settings is None:
            raise LocalPlatformError("the local platform is not running; use it in a with statement or call start()")
        return self._settings

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = self._settings.api_url if self._settings else "not running"
        return f"<LocalPlatform {where} components={str(self._components)!r}>"


def _identifier(name: str, value: str) -> str:
    if isinstance(value, str) and is_id(value):
        return value
    raise SettingError(f"{name} is {value!r}; it must be a string that matches {ID_PATTERN}")


def _whole_number(name: str, value: int, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise SettingError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")
