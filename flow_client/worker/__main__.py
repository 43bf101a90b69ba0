"""The command line: `python -m flow_client.worker package.module:handler`."""

from __future__ import annotations

import argparse
import faulthandler
import io
import logging
import os
import sys
from typing import NoReturn

from flow_client.errors import ConfigurationError, InvalidRequestError
from flow_client.worker._exits import EXIT_USAGE, fail
from flow_client.worker._rehearsal import rehearse
from flow_client.worker._run import run

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _options(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # So that output before a crash is not lost, and any text can be printed into a pipe on Windows.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable(sys.__stderr__ or 2)
    try:
        logging.basicConfig(level=_log_level())
        return (
            run(options.handler) if options.input is None else rehearse(options.handler, options.input, options.config)
        )
    except (ConfigurationError, InvalidRequestError) as error:
        return fail(EXIT_USAGE, str(error))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m flow_client.worker", description="Run a function as an execution's worker.")
    parser.add_argument("handler", help="the function, as package.module:name")
    parser.add_argument(
        "--input",
        metavar="JSON",
        help="call the function here with this input, without platform and NATS, and print its events and output; "
        "@FILE reads a file, - reads standard input",
    )
    parser.add_argument("--config", metavar="JSON", help="with --input: the execution's configuration")
    options = parser.parse_args(arguments)
    if not all(part for part in options.handler.partition(":")):
        parser.error(f"{options.handler!r} is not package.module:name")
    if options.config is not None and options.input is None:
        parser.error("--config needs --input; on a platform the configuration comes with the input")
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _log_level() -> str:
    level = (os.environ.get("FLOW_LOG_LEVEL") or "WARNING").upper()
    if level in LOG_LEVELS:
        return level
    raise ConfigurationError(f"FLOW_LOG_LEVEL is {level!r}; it must be one of {', '.join(LOG_LEVELS)}")


if __name__ == "__main__":
    sys.exit(main())
