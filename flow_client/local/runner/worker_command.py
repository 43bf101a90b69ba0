"""The order for an execution's worker: module, argument and environment."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from flow_client.local import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flow_client.local.manifest import Component
    from flow_client.local.settings import ServiceSettings
    from flow_client.local.state.records import Record

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
_INHERITED_PREFIX = "LC_"
_TOKEN_MARGIN = 3600.0
"""Seconds for which a worker's token outlives the execution's time limit."""


def deployment_id(kind: str, component_id: str) -> str:
    """Return the id of a component's deployment; each component has one here."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"flow-local:{kind}/{component_id}"))


def base_environment(folder: Path) -> dict[str, str]:
    """Return the variables that every worker gets, as in a container: the platform's own settings do not leak in."""
    inherited = {k: v for k, v in os.environ.items() if k in _INHERITED or k.startswith(_INHERITED_PREFIX)}
    python_path = [str(folder), *filter(None, [inherited.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(python_path)}


def lasting_environment(folder: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that all workers of components with the variables `own` get."""
    # Unbuffered, so that the log has what was printed before a crash or a timeout.
    return {**base_environment(folder), "PYTHONUNBUFFERED": "1", **own}


def environment(record: Record, component: Component, folder: Path, settings: ServiceSettings) -> dict[str, str]:
    """Return the environment of the worker that runs `record`'s execution."""
    lifetime = record.timeout_seconds + _TOKEN_MARGIN
    token = tokens.issue(settings.signing_key, record.org_id, record.workspace_id, lifetime, record.level + 1)
    return {
        **lasting_environment(folder, component.env),
        "PLATFORM_API_URL": settings.api_url,
        "AUTH_TOKEN": token,
        "ORG_ID": record.org_id,
        "WORKSPACE_ID": record.workspace_id,
        "NATS_URL": settings.nats_url,
        "EXECUTION_ID": record.execution_id,
        "DEPLOYMENT_ID": deployment_id(record.kind, record.component_id),
        "PARENT_BILLING_TXN_ID": record.billing_txn_id,
        "LIFECYCLE_EVENT": record.lifecycle_event,
        "RING_ID": record.ring_id,
        **component.env,
    }
