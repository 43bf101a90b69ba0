"""The blocking client of the Flow execution platform.

Each name is imported when it is first used: `import flow_client` alone loads no requests, pydantic, nats or asyncio.
"""

from __future__ import annotations

# Type checkers know this name without an import. Importing typing would take longer than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flow_client._api.base import TERMINAL_STATUSES
    from flow_client._batch.counts import Batch, BatchCounts
    from flow_client._nats.event_stream import EventStream
    from flow_client._nats.outbox import BridgeStats
    from flow_client._waiting.stats import ClientStats
    from flow_client.bridge import NatsBridge
    from flow_client.client import PlatformClient
    from flow_client.errors import *  # noqa: F403 - all of them are public
    from flow_client.executions import ExecutionHandle

__version__ = "0.1.0"

__all__ = [
    "TERMINAL_STATUSES",
    "Batch",
    "BatchCounts",
    "BridgeError",
    "BridgeStats",
    "BridgeTimeoutError",
    "ClientClosedError",
    "ClientStats",
    "ConfigurationError",
    "EventStream",
    "ExecutionHandle",
    "ExecutionWaitTimeout",
    "InvalidRequestError",
    "MalformedInputError",
    "NatsBridge",
    "PayloadTooLargeError",
    "PlatformAuthenticationError",
    "PlatformBadRequestError",
    "PlatformClient",
    "PlatformClientError",
    "PlatformConflictError",
    "PlatformConnectionError",
    "PlatformExecutionError",
    "PlatformNotFoundError",
    "PlatformPermissionError",
    "PlatformRateLimitError",
    "PlatformResponseError",
    "PlatformServerError",
    "PlatformStatusError",
    "PlatformTimeoutError",
    "PlatformUnsupportedError",
    "UndeliveredError",
]

# The module of each name that is not in `errors`.
_MODULES = {
    "TERMINAL_STATUSES": "_api.base",
    "Batch": "_batch.counts",
    "BatchCounts": "_batch.counts",
    "BridgeStats": "_nats.outbox",
    "ClientStats": "_waiting.stats",
    "EventStream": "_nats.event_stream",
    "ExecutionHandle": "executions",
    "NatsBridge": "bridge",
    "PlatformClient": "client",
}


if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'flow_client' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - the package itself imports nothing

        value = getattr(import_module(f"flow_client.{_MODULES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
