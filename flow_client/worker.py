"""Running a function as an execution's worker: `python -m flow_client.worker package.module:handler`.

The settings come from the environment that a container gets: `EXECUTION_ID`, `DEPLOYMENT_ID`, `NATS_URL`, and
`FLOW_INPUT_TIMEOUT_SECONDS` and `FLOW_GRACE_SECONDS`, which have defaults. The exit code says how it ended:

| code | meaning |
|---|---|
| 0 | an output is stored, that of a failed or cancelled handler too; events that could not be are named on stderr |
| 64 | the command line is wrong, or a setting is missing or unusable |
| 65 | the input is malformed |
| 69 | NATS cannot be reached, or no input came in time |
| 74 | the output could not be stored; the input stays in the work queue |
"""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

from flow_client._bridge_core import DEFAULT_CONNECT_TIMEOUT
from flow_client._checks import seconds, seconds_from_text
from flow_client._failures import failure
from flow_client._interrupts import Interrupted, Interrupts
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

    from flow_client.client import PlatformClient
    from flow_client.models import ExecutionInput

DEFAULT_GRACE_SECONDS = 5.0
AT_ONCE = 0.001

EXIT_STORED = 0
EXIT_USAGE = os.EX_USAGE
EXIT_MALFORMED_INPUT = os.EX_DATAERR
EXIT_NO_INPUT = os.EX_UNAVAILABLE
EXIT_NOT_STORED = os.EX_IOERR


@dataclass(frozen=True)
class Result:
    """What a handler returns that leaves more behind than an output."""

    output: Any
    usage: Any = None
    messages: Any = None
    state: Any = None


class Task:
    """What a handler is given.

    Attributes:
        execution_id: the execution.
        deployment_id: the deployment that runs it, None if none does.
        input_data: the input, any JSON value.
        session_id: the conversation, None if there is none.
        messages: the conversation so far.
        state: the state to go on from.
    """

    def __init__(
        self,
        bridge: NatsBridge,
        execution_id: str,
        deployment_id: str | None,
        content: ExecutionInput,
        stop: Interrupts,
    ) -> None:
        self._bridge = bridge
        self._stop = stop
        self._cleanup = ExitStack()
        self.execution_id = execution_id
        self.deployment_id = deployment_id
        self.input_data = content.input_data
        self.session_id = content.session_id
        self.messages = content.messages
        self.state = content.state

    @property
    def cancelled(self) -> bool:
        """Whether the worker was told to stop (SIGTERM); a grace period later the handler is interrupted."""
        return self._stop.requested

    @cached_property
    def client(self) -> PlatformClient:
        """A client for nested calls, with the settings of the environment. It is closed after the handler."""
        from flow_client.client import PlatformClient  # noqa: PLC0415 - most handlers do without HTTP

        return self._cleanup.enter_context(PlatformClient())

    def emit(self, event_type: str, event_data: Any) -> None:
        """Publish an event of this execution; see `NatsBridge.push_execution_event`."""
        self._bridge.push_execution_event(self.deployment_id, self.execution_id, event_type, event_data)

    def close(self) -> None:
        """Close the client, if there is one. Can be called twice."""
        self._cleanup.close()


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
            which is imported once the input is there: an import that fails is a failed execution.
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
    parser = _Parser(prog="python -m flow_client.worker", description="Run a function as an execution's worker.")
    parser.add_argument("handler", help="the function, as package.module:name")
    options = parser.parse_args(arguments)
    if not all(part for part in options.handler.partition(":")):
        parser.error(f"{options.handler!r} is not package.module:name")
    logging.basicConfig(level=logging.WARNING)
    return run(options.handler)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


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

    def _call(self, handler: Callable[[Task], Any] | str, content: ExecutionInput) -> dict[str, Any]:
        """Call the handler and return the output's content, whatever happens."""
        task = Task(self._bridge, self._settings.execution_id, self._settings.deployment_id, content, self._stop)
        try:
            with closing(task), self._stop.interruptible(self._settings.grace_seconds):
                function = _load(handler) if isinstance(handler, str) else handler
                return _content(function(task))
        except (Interrupted, KeyboardInterrupt) as exc:
            return failure(exc, "Cancelled")
        except BaseException as exc:  # noqa: BLE001 - it is reported, sys.exit() too: a container that ends is no output
            return failure(exc, type(exc).__name__)

    def _store(self, content: dict[str, Any]) -> int:
        try:
            try:
                self._push(content)
            except (InvalidRequestError, PayloadTooLargeError) as exc:
                self._push(failure(exc, type(exc).__name__))
        except UndeliveredError as exc:  # of events: the output is stored
            _fail(EXIT_STORED, str(exc))
        except PlatformClientError as exc:
            return _fail(EXIT_NOT_STORED, f"the output could not be stored: {exc}")
        return EXIT_STORED

    def _push(self, content: dict[str, Any]) -> None:
        self._bridge.push_execution_output(self._settings.deployment_id, self._settings.execution_id, **content)


def _load(name: str) -> Callable[[Task], Any]:
    module, _, path = name.partition(":")
    function: Callable[[Task], Any] = attrgetter(path)(import_module(module))
    return function


def _content(result: Any) -> dict[str, Any]:
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the handler returned a coroutine; it must be a plain function, not `async def`")
    if not isinstance(result, Result):
        result = Result(result)
    return {"output": result.output, "usage": result.usage, "messages": result.messages, "state": result.state}


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"flow_client.worker: {message}\n")
    return code


if __name__ == "__main__":
    # Not this module's own main: a handler's `Result` would be another class than this one's.
    sys.exit(import_module("flow_client.worker").main())
