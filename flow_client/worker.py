"""Running a function as an execution's worker: `python -m flow_client.worker package.module:handler`.

The settings come from the environment that a container gets: `EXECUTION_ID`, `DEPLOYMENT_ID`, `NATS_URL`, and
`FLOW_INPUT_TIMEOUT_SECONDS`, `FLOW_GRACE_SECONDS` and `FLOW_LOG_LEVEL`, which have defaults. With `--input JSON` the
function is called here, with no platform and no NATS, and its events and its output are printed. The exit code says how
it ended:

| code | meaning |
|---|---|
| 0 | an output is stored, that of a failed or cancelled handler too; events that could not be are named on stderr |
| 1 | with `--input`: the handler failed |
| 64 | the command line is wrong, or a setting is missing or unusable |
| 65 | the input is malformed |
| 69 | NATS cannot be reached, or no input came in time |
| 74 | the output could not be stored; the input stays in the work queue |
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import logging
import os
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flow_client._bridge_core import DEFAULT_CONNECT_TIMEOUT
from flow_client._core import jsontext
from flow_client._core.checks import seconds, seconds_from_text
from flow_client._failures import failure
from flow_client._handlers import Result, call
from flow_client._interrupts import Interrupted, Interrupts
from flow_client._nats import payloads
from flow_client._task import EventNumbers, Task
from flow_client.bridge import DEFAULT_INPUT_TIMEOUT, NatsBridge
from flow_client.errors import (
    BridgeError,
    ConfigurationError,
    InvalidRequestError,
    MalformedInputError,
    PayloadTooLargeError,
    PlatformClientError,
    UndeliveredError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from flow_client.models import ExecutionInput

__all__ = ["Result", "Task", "main", "run"]

DEFAULT_GRACE_SECONDS = 5.0
AT_ONCE = 0.001

# Those of sysexits.h, by number: `os.EX_USAGE` and the others are not there on Windows.
EXIT_STORED = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_MALFORMED_INPUT = 65
EXIT_NO_INPUT = 69
EXIT_NOT_STORED = 74

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def run(
    handler: Callable[[Task], Any] | str,
    *,
    execution_id: UUID | str | None = None,
    deployment_id: UUID | str | None = None,
    nats_url: str | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    input_timeout: float | None = None,
    grace_seconds: float | None = None,
) -> int:
    """Take the execution's input, call the handler, publish its output and return the exit code.

    The handler runs in this thread, the main one as a rule. What it raises, `SystemExit` and `KeyboardInterrupt` too,
    is published as the output's `error` with `type`, `message` and `traceback`. The input is acknowledged when the
    output is stored: until then another worker of the execution can take it over.

    Args:
        handler: a function of a `Task` that returns the output or a `Result`, or its name as `package.module:name`,
            which is imported once the input is there: an import that fails is a failed execution. What a generator
            function yields is emitted, each item as a `chunk`, and what it returns is the output.
        execution_id: the execution; `EXECUTION_ID` if None.
        deployment_id: the deployment; `DEPLOYMENT_ID` if None.
        nats_url: see `NatsBridge`.
        connect_timeout: see `NatsBridge`.
        input_timeout: seconds to wait for the input; `FLOW_INPUT_TIMEOUT_SECONDS` if None, else 60.
        grace_seconds: seconds from SIGTERM until the handler is interrupted; `FLOW_GRACE_SECONDS` if None, else 5. It
            does not bound the publishing of the output.

    Returns:
        The exit code; the module's documentation lists them. One other than 0 is explained on stderr.
    """
    try:
        settings = _settings(execution_id, deployment_id, input_timeout, grace_seconds)
        bridge = NatsBridge(nats_url, connect_timeout=connect_timeout)
    except ConfigurationError as exc:
        return _fail(EXIT_USAGE, str(exc))
    code = EXIT_NOT_STORED
    try:
        with bridge:
            code = _Run(bridge, settings).run(handler)
    except UndeliveredError as exc:
        _fail(code, str(exc))
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _options(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what is printed before a crash is seen
    faulthandler.enable(sys.__stderr__ or 2)
    try:
        logging.basicConfig(level=_log_level())
        return run(options.handler) if options.input is None else _rehearse(options)
    except (ConfigurationError, InvalidRequestError) as error:
        return _fail(EXIT_USAGE, str(error))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m flow_client.worker", description="Run a function as an execution's worker.")
    parser.add_argument("handler", help="the function, as package.module:name")
    parser.add_argument(
        "--input",
        metavar="JSON",
        help="call the function here with this input, without platform and NATS, and print its events and its output; "
        "@FILE reads a file, - reads standard input",
    )
    parser.add_argument("--config", metavar="JSON", help="with --input: the execution's configuration")
    options = parser.parse_args(arguments)
    if not all(part for part in options.handler.partition(":")):
        parser.error(f"{options.handler!r} is not package.module:name")
    if options.config is not None and options.input is None:
        parser.error("--config needs --input; a platform gives a worker its configuration with the input")
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _log_level() -> str:
    level = (os.environ.get("FLOW_LOG_LEVEL") or "WARNING").upper()
    if level in LOG_LEVELS:
        return level
    raise ConfigurationError(f"FLOW_LOG_LEVEL is {level!r}; it must be one of {', '.join(LOG_LEVELS)}")


def _rehearse(options: argparse.Namespace) -> int:
    """Call the handler in this process and print what a worker would publish, a JSON text in each line."""
    config = None if options.config is None else _json_argument(options.config, "--config")
    if not isinstance(config, (dict, type(None))):
        raise InvalidRequestError(f"--config is {type(config).__name__}; it must be a JSON object")
    execution_id = payloads.execution_token(os.environ.get("EXECUTION_ID") or "local")
    deployment_id = os.environ.get("DEPLOYMENT_ID") or None
    task = Task(
        input_data=_json_argument(options.input, "--input"),
        config=config,
        execution_id=execution_id,
        deployment_id=deployment_id,
        publish=EventNumbers(execution_id, _print),
    )
    content = call(options.handler, task)
    try:
        _print(payloads.output(execution_id, deployment_id, **content))
    except Exception as error:  # noqa: BLE001 - that it has no JSON form, or what its own code raises
        content = failure(error, type(error).__name__)
        _print(payloads.output(execution_id, deployment_id, **content))
    if content.get("error") is None:
        return EXIT_STORED
    sys.stderr.write(content["error"]["traceback"])
    return EXIT_FAILED


def _json_argument(text: str, option: str) -> Any:
    try:
        if text == "-":
            return jsontext.decode(sys.stdin.buffer.read())
        return jsontext.decode(Path(text[1:]).read_bytes() if text.startswith("@") else os.fsencode(text))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"{option} cannot be read: {error}") from error


def _print(payload: bytes) -> None:
    sys.stdout.write(f"{payload.decode()}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class _Settings:
    execution_id: str
    deployment_id: str | None
    input_timeout: float
    grace_seconds: float


def _settings(
    execution_id: UUID | str | None,
    deployment_id: UUID | str | None,
    input_timeout: float | None,
    grace_seconds: float | None,
) -> _Settings:
    execution = execution_id or os.environ.get("EXECUTION_ID")
    if not execution:
        raise ConfigurationError("execution_id is missing: pass execution_id=… or set EXECUTION_ID")
    return _Settings(
        str(execution),
        str(deployment_id or os.environ.get("DEPLOYMENT_ID") or "") or None,
        _seconds(input_timeout, "input_timeout", "FLOW_INPUT_TIMEOUT_SECONDS", DEFAULT_INPUT_TIMEOUT),
        _seconds(grace_seconds, "grace_seconds", "FLOW_GRACE_SECONDS", DEFAULT_GRACE_SECONDS),
    )


def _seconds(value: float | None, argument: str, variable: str, default: float) -> float:
    if value is not None:
        return seconds(value, argument, ConfigurationError)
    text = os.environ.get(variable)
    return seconds_from_text(text, variable) if text else default


class _Run:
    """One run of a worker."""

    def __init__(self, bridge: NatsBridge, settings: _Settings) -> None:
        self._bridge = bridge
        self._settings = settings
        self._stop = Interrupts()

    def run(self, handler: Callable[[Task], Any] | str) -> int:
        with self._stop.handled():
            try:
                content = self._fetch()
            except InvalidRequestError as exc:
                return _fail(EXIT_USAGE, str(exc))
            except MalformedInputError as exc:
                return _fail(EXIT_MALFORMED_INPUT, str(exc))
            except BridgeError as exc:
                return _fail(EXIT_NO_INPUT, str(exc))
            except (Interrupted, KeyboardInterrupt):
                return _fail(EXIT_NO_INPUT, "the worker was stopped before it had an input")
            return self._store(self._call(handler, content))

    def _fetch(self) -> ExecutionInput:
        settings = self._settings
        with self._stop.interruptible(AT_ONCE):
            return self._bridge.fetch_execution_input(
                settings.deployment_id, settings.execution_id, ack="on_done", timeout=settings.input_timeout
            )

    def _call(self, handler: Callable[[Task], Any] | str, given: ExecutionInput) -> dict[str, Any]:
        execution_id, deployment_id = self._settings.execution_id, self._settings.deployment_id
        task = Task(
            input_data=given.input_data,
            config=(given.model_extra or {}).get("config"),
            session_id=given.session_id,
            messages=given.messages,
            state=given.state,
            execution_id=execution_id,
            deployment_id=deployment_id,
            publish=partial(self._bridge.push_execution_event, deployment_id, execution_id),
            is_cancelled=lambda: self._stop.requested,
        )
        content = call(handler, task, self._stop.interruptible(self._settings.grace_seconds))
        if self._stop.requested and content.get("error"):
            # Nobody may read the output of an execution that ran out of time, but this is in the worker's log.
            sys.stderr.write(f"flow_client.worker: the handler was stopped\n{content['error']['traceback']}")
        return content

    def _store(self, content: dict[str, Any]) -> int:
        try:
            try:
                self._push(content)
            except (InvalidRequestError, PayloadTooLargeError) as exc:
                self._push(failure(exc, type(exc).__name__))
            except PlatformClientError:
                raise
            except Exception as exc:  # noqa: BLE001 - the output's own code, while it is turned into JSON
                self._push(failure(exc, type(exc).__name__))
        except UndeliveredError as exc:  # of events: the output is stored
            _fail(EXIT_STORED, str(exc))
        except PlatformClientError as exc:
            return _fail(EXIT_NOT_STORED, f"the output could not be stored: {exc}")
        return EXIT_STORED

    def _push(self, content: dict[str, Any]) -> None:
        self._bridge.push_execution_output(self._settings.deployment_id, self._settings.execution_id, **content)


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"flow_client.worker: {message}\n")
    return code


if __name__ == "__main__":
    # Not this module's own main: a handler's `Result` would be another class than this one's.
    sys.exit(import_module("flow_client.worker").main())
