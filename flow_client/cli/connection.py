"""The client that a command talks to the platform with."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flow_client.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client.cli.options import Options
    from flow_client.client import PlatformClient


@contextmanager
def connected(options: Options) -> Iterator[PlatformClient]:
    """Yield a client with the settings of the options, and log to standard error what it logs.

    Raises:
        ConfigurationError: a setting is missing or not valid.
    """
    from flow_client.client import PlatformClient

    _set_up_logging(options)
    with PlatformClient(**options.arguments()) as client:
        yield client


def _set_up_logging(options: Options) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Format("flow-client: %(message)s"))
    # A command says itself what goes on after Ctrl-C, and how to take it up with another command.
    handler.addFilter(lambda record: record.funcName != "warn_still_running")
    logger = logging.getLogger("flow_client")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if options.is_verbose else logging.ERROR if options.is_quiet else logging.WARNING)


class _Format(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
