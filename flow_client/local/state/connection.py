"""The NATS connection of the API and of the runner."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import nats
from nats.errors import NoRespondersError
from nats.js.errors import APIError

from flow_client.local.errors import SettingError

if TYPE_CHECKING:
    from nats.aio.client import Client

CONNECT_TIMEOUT = 5.0
_RECONNECT_WAIT = 0.25
_logger = logging.getLogger(__name__)


async def connect(url: str, name: str) -> Client:
    """Connect to the server or the comma-separated servers at `url`. Later outages are waited out, however long.

    Raises:
        SettingError: no server accepted the connection, or JetStream is not enabled on the one that did.
    """
    reasons: dict[str, None] = {}

    async def on_error(error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        reasons[reason] = None
        _logger.warning("NATS: %s", reason)

    connecting = nats.connect(
        servers=url.split(","),
        name=name,
        error_cb=on_error,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_WAIT,
    )
    try:
        # Without this limit connect() keeps trying for minutes when no server answers.
        connection = await asyncio.wait_for(connecting, CONNECT_TIMEOUT)
    except asyncio.TimeoutError as error:
        said = "; ".join(reasons) or f"no answer within {CONNECT_TIMEOUT:g} s"
        raise SettingError(f"cannot connect to the NATS server: {said}") from error
    try:
        await connection.jetstream().account_info()
    except (NoRespondersError, APIError) as error:
        raise SettingError(
            f"JetStream is not available on the NATS server: {error}; enable it there, for this account"
        ) from error
    return connection
