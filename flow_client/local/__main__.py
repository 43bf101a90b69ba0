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
    """The command was asked to stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a local platform until Ctrl-C, SIGTERM or SIGHUP, and return the exit code.

    Returns:
        0 if it was asked to stop, 1 if a process of the platform failed, 2 if the manifest or an option is not usable.
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
            fresh_workers=options.fresh_workers,
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
    parser.add_argument(
        "--components", required=True, metavar="FILE", help="the manifest: a TOML file that lists the components"
    )
    parser.add_argument("--port", type=int, default=0, help="the port of the API (default: any free port)")
    parser.add_argument("--store", metavar="DIR", help="folder for executions and logs (default: a temporary one)")
    parser.add_argument("--nats-url", metavar="URL", help="a running NATS server with JetStream (default: start one)")
    parser.add_argument(
        "--max-workers",
        type=int,
        metavar="N",
        help="how many executions run at the same time (default: twice the CPUs, at least 4)",
    )
    parser.add_argument(
        "--fresh-workers",
        action="store_true",
        help="run each execution in a newly started interpreter (default: in a fork of a warm one, on Linux)",
    )
    return parser


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C must not interrupt the shutdown of the processes.
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
