"""The command `python -m flow_client.local`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from flow_client.local.errors import LocalPlatformError, ManifestError, SettingError
from flow_client.local.platform import LocalPlatform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_OK, _FAILED, _UNUSABLE = 0, 1, 2
_WATCH_SECONDS = 0.5


class _Ended(BaseException):
    """The command was asked to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a local platform until Ctrl-C or SIGTERM and return the exit code.

    Returns:
        0 when it was asked to end, 1 when a process of the platform failed, 2 when the manifest or another argument
        cannot be used.
    """
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        with LocalPlatform(
            options.components,
            store_dir=options.store,
            nats_url=options.nats_url,
            port=options.port,
            max_workers=options.max_workers,
        ) as platform:
            print(_welcome(platform), flush=True)
            return _watch(platform)
    except _Ended:
        return _OK
    except (ManifestError, SettingError) as error:
        print(error, file=sys.stderr)
        return _UNUSABLE
    except LocalPlatformError as error:
        print(error, file=sys.stderr)
        return _FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_UNUSABLE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m flow_client.local", description="Run a local Flow platform.")
    parser.add_argument("--components", required=True, metavar="FILE", help="the manifest of components, TOML")
    parser.add_argument("--port", type=int, default=0, help="the API's port (default: one that is free)")
    parser.add_argument("--store", metavar="DIR", help="keep executions there (default: a temporary folder)")
    parser.add_argument("--nats-url", metavar="URL", help="use this NATS server (default: start one)")
    parser.add_argument("--max-workers", type=int, metavar="N", help="how many executions run at a time")
    return parser


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # Once is enough: a second Ctrl-C must not interrupt the orderly end of the processes.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise _Ended


def _welcome(platform: LocalPlatform) -> str:
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in platform.environment().items())
    return (
        f"# The platform listens on {platform.base_url}. For a client in another shell:\n{exports}\n# Ctrl-C ends it."
    )


def _watch(platform: LocalPlatform) -> int:
    while True:
        failure = platform.unexpected_end()
        if failure is not None:
            print(failure, file=sys.stderr)
            return _FAILED
        time.sleep(_WATCH_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
