"""The process of the API. Started as `python -m flow_client.local.api`."""

from __future__ import annotations

import asyncio
import logging
import socket
import warnings

import uvicorn
from pydantic.warnings import UnsupportedFieldAttributeWarning

from flow_client.local.api.app import Api, create_app
from flow_client.local.api.engine import Engine
from flow_client.local.api.problems import AnswerHeaders
from flow_client.local.errors import SettingError
from flow_client.local.manifest import load
from flow_client.local.processes.guarded import announce
from flow_client.local.settings import ServiceSettings, from_environment
from flow_client.local.state.connection import connect

HOST = "127.0.0.1"
# Requests that are held for `Prefer: wait` do not keep the process from ending.
_GRACEFUL_SHUTDOWN = 1
_BACKLOG = 1024


async def serve(settings: ServiceSettings) -> None:
    """Listen, announce the port, and serve until SIGTERM; announce what is wrong with the settings if anything is."""
    try:
        connection = await connect(settings.nats_url, "flow-local-api")
    except SettingError as error:
        announce({"error": str(error)})
        return
    engine = await Engine.start(connection)
    app = create_app(Api(engine, load(settings.components), settings), settings.signing_key)
    config = uvicorn.Config(
        AnswerHeaders(app),
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN,
    )
    with _listen(settings.port) as listener:
        announce({"port": listener.getsockname()[1]})
        await uvicorn.Server(config).serve(sockets=[listener])


def _listen(port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only for sockets that say they are TCP; answers came 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(_BACKLOG)
    return listener


if __name__ == "__main__":
    # FastAPI silences this where it builds a model; ours are built at their first use.
    warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(serve(from_environment()))
