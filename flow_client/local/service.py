"""What the processes of the API and of the runner have in common: settings, logging, and errors at their start."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from flow_client.local.errors import ManifestError, SettingError
from flow_client.local.processes.guarded import announce
from flow_client.local.settings import from_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flow_client.local.settings import ServiceSettings

_UNUSABLE = 2


def run_service(serve: Callable[[ServiceSettings], Awaitable[None]]) -> None:
    """Run `serve` until it returns.

    An unusable value among the settings is announced to the platform. If there are no settings at all, nobody reads
    announcements: the reason goes to standard error, and the process exits with code 2.
    """
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        settings = from_environment()
    except SettingError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line prints
        sys.exit(_UNUSABLE)
    asyncio.run(_serve(serve, settings))


async def _serve(serve: Callable[[ServiceSettings], Awaitable[None]], settings: ServiceSettings) -> None:
    try:
        await serve(settings)
    except (ManifestError, SettingError) as error:
        announce({"error": str(error)})
