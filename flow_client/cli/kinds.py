"""The kinds of components, and how each is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client.client import PlatformClient
    from flow_client.executions import ExecutionHandle

SUBMITTED = ("code-block", "workflow", "agent")
"""Those whose executions can be submitted, and taken up later."""
KINDS = (*SUBMITTED, "transform")


def submit_method(client: PlatformClient, kind: str) -> Callable[..., ExecutionHandle]:
    """Return the method that submits an execution of a component of this kind, one of `SUBMITTED`."""
    return {
        "code-block": client.submit_code_block_execution,
        "workflow": client.submit_workflow_execution,
        "agent": client.submit_agent_execution,
    }[kind]
