"""What all runs of a runner share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from flow_client.local.manifest import Manifest
    from flow_client.local.runner.workers import Workers
    from flow_client.local.settings import ServiceSettings
    from flow_client.local.state.logs import LogFolder
    from flow_client.local.state.records import Executions


@dataclass(frozen=True)
class RunnerContext:
    """What all runs of a runner share."""

    js: JetStreamContext
    executions: Executions
    manifest: Manifest
    settings: ServiceSettings
    logs: LogFolder
    workers: Workers
