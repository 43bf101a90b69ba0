"""Runs a worker once: take the input, call the handler, store the output."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_client._core.checks import seconds, seconds_from_text
from flow_client.bridge import DEFAULT_CONNECT_TIMEOUT, DEFAULT_INPUT_TIMEOUT, NatsBridge
from flow_client.errors import (
    BridgeError,
    ConfigurationError,
    InvalidRequestError,
    MalformedInputError,
    PayloadTooLargeError,
    PlatformClientError,
    UndeliveredError,
)
from flow_client.worker._exits import (
    EXIT_MALFORMED_INPUT,
    EXIT_NO_INPUT,
    EXIT_NOT_STORED,
    EXIT_STORED,
    EXIT_USAGE,
    fail,
)
from flow_client.worker._failures import failure
from flow_client.worker._handlers import call
from flow_client.worker._interrupts import Interrupted, Interrupts
from flow_client.worker._task import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from flow_client.models import ExecutionInput

DEFAULT_GRACE_SECONDS = 5.0
AT_ONCE = 0.001


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

    The handler runs in the calling thread, usually the main thread. An exception from it, `SystemExit` and
    `KeyboardInterrupt` included, is published as the output's `error` with `type`, `message` and `traceback`. The input
    is acknowledged when the output is stored; until then another worker can take the execution over.

    Args:
        handler: a function that takes a `Task` and returns the output or a `Result`, or its name as
            `package.module:name`. The name is imported when the input has arrived, so a failing import is a failed
            execution. If it is a generator function, each item that it yields is emitted as a `chunk`, and what it
            returns is the output.
        execution_id: the execution; `EXECUTION_ID` if None.
        deployment_id: the deployment; `DEPLOYMENT_ID` if None.
        nats_url: see `NatsBridge`.
        connect_timeout: see `NatsBridge`.
        input_timeout: seconds to wait for the input; if None, `FLOW_INPUT_TIMEOUT_SECONDS` or else 60.
        grace_seconds: seconds from SIGTERM until the handler is interrupted; if None, `FLOW_GRACE_SECONDS` or else 5.
            It does not bound publishing the output.

    Returns:
        The exit code, as listed in the module's documentation. Any but 0 is explained on stderr.
    """
    try:
        settings = _settings(execution_id, deployment_id, input_timeout, grace_seconds)
        bridge = NatsBridge(nats_url, connect_timeout=connect_timeout)
    except ConfigurationError as error:
        return fail(EXIT_USAGE, str(error))
    code = EXIT_NOT_STORED
    try:
        with bridge:
            code = _Run(bridge, settings).run(handler)
    except UndeliveredError as error:
        fail(code, str(error))
    return code


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
            except InvalidRequestError as error:
                return fail(EXIT_USAGE, str(error))
            except MalformedInputError as error:
                return fail(EXIT_MALFORMED_INPUT, str(error))
            except BridgeError as error:
                return fail(EXIT_NO_INPUT, str(error))
            except (Interrupted, KeyboardInterrupt):
                return fail(EXIT_NO_INPUT, "the worker was stopped before it had an input")
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
            # If the execution timed out, nobody may ever read its output; this is in the worker's log.
            sys.stderr.write(f"flow_client.worker: the handler was stopped\n{content['error']['traceback']}")
        return content

    def _store(self, content: dict[str, Any]) -> int:
        try:
            try:
                self._push(content)
            except (InvalidRequestError, PayloadTooLargeError) as error:
                self._push(failure(error, type(error).__name__))
            except PlatformClientError:
                raise
            except Exception as error:  # noqa: BLE001 - raised by the output's own code while it becomes JSON
                self._push(failure(error, type(error).__name__))
        except UndeliveredError as error:  # of events: the output is stored
            fail(EXIT_STORED, str(error))
        except PlatformClientError as error:
            return fail(EXIT_NOT_STORED, f"the output could not be stored: {error}")
        return EXIT_STORED

    def _push(self, content: dict[str, Any]) -> None:
        self._bridge.push_execution_output(self._settings.deployment_id, self._settings.execution_id, **content)
