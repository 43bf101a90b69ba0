"""The HTTP server of the API."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

from flow_client.local.api.app import Api, create_app
from flow_client.local.api.body_limit import BodyLimit
from flow_client.local.api.engine import Engine
from flow_client.local.api.headers import AnswerHeaders
from flow_client.local.manifest import load
from flow_client.local.processes.guarded import announce
from flow_client.local.state.connection import connect

if TYPE_CHECKING:
    from types import FrameType

    from flow_client.local.settings import ServiceSettings

HOST = "127.0.0.1"
_GRACEFUL_SHUTDOWN = 1
"""Seconds that open requests get at the end; those that are held for `Prefer: wait` would take longer."""
_BODY_SIZE = 4
"""How many times a NATS message a body may be: white space and escapes do not count in the message."""
_BACKLOG = 1024
"""How many connections may wait to be accepted."""


async def serve(settings: ServiceSettings) -> None:
    """Listen, announce the port, and serve until SIGTERM.

    Raises:
        ManifestError: the manifest is not usable.
        SettingError: NATS cannot be used.
    """
    connection = await connect(settings.nats_url, "flow-local-api")
    engine = await Engine.start(connection)
    app = create_app(Api(engine, load(settings.components), settings), settings.signing_key)
    config = uvicorn.Config(
        AnswerHeaders(BodyLimit(app, _BODY_SIZE * connection.max_payload)),
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN,
    )
    with _listen(settings.port) as listener:
        announce({"port": listener.getsockname()[1]})
        await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that ends as soon as it gets a signal, not at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._signalled = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._signalled.set)

    async def main_loop(self) -> None:
        ticking = asyncio.create_task(super().main_loop())
        signalled = asyncio.create_task(self._signalled.wait())
        await asyncio.wait([ticking, signalled], return_when=asyncio.FIRST_COMPLETED)
        ticking.cancel()


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only if the socket names TCP as its protocol; else answers are 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(_BACKLOG)
    return listener
