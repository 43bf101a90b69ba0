"""The NATS connection of a service of the local platform."""

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
    """Connect to the server or comma-separated servers at `url`; outages after that are waited out for ever.

    Raises:
        SettingError: no server accepted the connection, or the one that did has no JetStream.
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
        # connect() itself goes on for minutes when nobody answers.
        connection = await asyncio.wait_for(connecting, CONNECT_TIMEOUT)
    except asyncio.TimeoutError as error:
        said = "; ".join(reasons) or "no answer"
        raise SettingError(f"the NATS server did not accept the connection: {said}") from error
    try:
        await connection.jetstream().account_info()
    except (NoRespondersError, APIError) as error:
        raise SettingError(f"the NATS server has no JetStream for this connection: {error}") from error
    return connection
