"""Whether each answer is the answer to its own question."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_client import PlatformClient


def is_right(client: PlatformClient, execution_id: str) -> bool:
    """Ask for an execution and return whether the answer speaks of it."""
    record = client.get_execution_status(execution_id)
    return (record.execution_id, record.output) == (execution_id, f"output of {execution_id}")


def count_right(client: PlatformClient, name: str, calls: int) -> int:
    """Make so many calls, each with an id of its own, and return how many answers were right."""
    return sum(is_right(client, f"{name}-{number}") for number in range(calls))


def report(value: Any) -> None:
    """Tell the test."""
    print(json.dumps(value), flush=True)  # noqa: T201 - standard output is how the test is told
