"""The NATS connection of a service of the local platform."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import nats

if TYPE_CHECKING:
    from nats.aio.client import Client

CONNECT_TIMEOUT = 5.0
_RECONNECT_WAIT = 0.25
_logger = logging.getLogger(__name__)


async def connect(url: str, name: str) -> Client:
    """Connect to the server or comma-separated servers at `url`; outages after that are waited out for ever.

    Raises:
        TimeoutError: no server answered.
    """

    async def on_error(exc: Exception) -> None:
        _logger.warning("NATS: %s: %s", type(exc).__name__, exc)

    connecting = nats.connect(
        servers=url.split(","),
        name=name,
        error_cb=on_error,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_WAIT,
    )
    # connect() itself goes on for minutes when nobody answers.
    return await asyncio.wait_for(connecting, CONNECT_TIMEOUT)
