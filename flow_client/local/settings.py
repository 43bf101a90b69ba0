"""The settings of the platform's processes. They get them in an environment variable, which holds secrets."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flow_client.local.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "FLOW_LOCAL_SETTINGS"
DEFAULT_ORG_ID = "local-org"
DEFAULT_WORKSPACE_ID = "local-workspace"
DEFAULT_RING_ID = "ring-1"
WORKER_GRACE = 8.0
"""Seconds from a worker's SIGTERM to its SIGKILL: longer than the 5 s that it gives its handler, so that it can still
report how the handler ended."""
_WORKERS_AT_LEAST = 4
_WORKERS_PER_CPU = 2


def default_max_workers() -> int:
    """Return how many executions run at the same time on each level unless a number is given."""
    return max(_WORKERS_AT_LEAST, _WORKERS_PER_CPU * (os.cpu_count() or 1))


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of the API and of the runner. `api_url` is empty until the API listens."""

    components: str
    store: str
    nats_url: str = field(repr=False)
    signing_key: str = field(repr=False)
    ring_id: str = DEFAULT_RING_ID
    port: int = 0
    max_workers: int = 1
    api_url: str = ""
    fresh_workers: bool = False

    @property
    def log_folder(self) -> Path:
        """The folder of the workers' logs."""
        return Path(self.store) / "logs"

    def environment(self) -> dict[str, str]:
        """Return the variable that hands these settings to a process."""
        return {VARIABLE: json.dumps(asdict(self))}


def from_environment(environ: Mapping[str, str] = os.environ) -> ServiceSettings:
    """Return the settings that this process was started with.

    Raises:
        SettingError: the variable is missing or unusable, since a person started the process and not the platform.
    """
    try:
        return ServiceSettings(**json.loads(environ[VARIABLE]))
    except (KeyError, TypeError, ValueError):
        problem = "is not usable" if VARIABLE in environ else "is not set"
        raise SettingError(
            f"{VARIABLE} {problem}: only the platform itself starts this process; "
            "run `python -m flow_client.local --components FILE` instead"
        ) from None
