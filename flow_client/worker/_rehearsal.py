"""Calls a handler without platform and NATS."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from flow_client._core import jsontext
from flow_client._nats import payloads
from flow_client.errors import InvalidRequestError
from flow_client.worker._exits import EXIT_FAILED, EXIT_STORED
from flow_client.worker._failures import failure
from flow_client.worker._handlers import call
from flow_client.worker._task import EventNumbers, Task


def rehearse(handler: str, input_text: str, config_text: str | None) -> int:
    """Call the handler in this process and print what a worker would publish, one JSON text per line."""
    config = None if config_text is None else _json_argument(config_text, "--config")
    if not isinstance(config, (dict, type(None))):
        raise InvalidRequestError(f"--config is {type(config).__name__}; it must be a JSON object")
    execution_id = payloads.subject_token(os.environ.get("EXECUTION_ID") or "local")
    deployment_id = os.environ.get("DEPLOYMENT_ID") or None
    task = Task(
        input_data=_json_argument(input_text, "--input"),
        config=config,
        execution_id=execution_id,
        deployment_id=deployment_id,
        publish=EventNumbers(execution_id, _print),
    )
    content = call(handler, task)
    try:
        _print(payloads.output(execution_id, deployment_id, **content))
    except Exception as error:  # noqa: BLE001 - it cannot be sent as JSON, or its own code raises
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
