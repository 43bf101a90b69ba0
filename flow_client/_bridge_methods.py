"""The NATS methods of `PlatformClient`: passed on to a bridge that is opened at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._core.log import logger
from flow_client.errors import ClientClosedError
from flow_client.executions import id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from flow_client._nats.hints import Hints
    from flow_client.bridge import NatsBridge
    from flow_client.config import Settings
    from flow_client.executions import ExecutionReference
    from flow_client.models import ExecutionEvent, ExecutionInput

_OWN = "own"


class BridgeMethods:
    """What code inside an execution says over NATS (contract section 2). `NatsBridge` documents each method.

    Args:
        nats_url: where NATS is.
        source: the methods of another client, whose bridge is used; to close it closes these too.
    """

    settings: Settings

    def __init__(self, nats_url: str | None, source: BridgeMethods | None = None) -> None:
        self._nats_url = nats_url
        # A copy of a copy uses the original's bridge: a chain of them would grow with every call.
        self._bridge_source: BridgeMethods | None = source and (source._bridge_source or source)  # noqa: SLF001 - its own kind
        # One at the most; it is put in and taken out in one step each, since a signal handler may call in between.
        self._bridges: dict[str, NatsBridge] = {}
        self._bridge_closed = False
        self._hints_failed = False

    def fetch_execution_input(self, deployment_id: UUID | str | None, execution_id: UUID | str) -> ExecutionInput:
        """Take the execution's input, as `NatsBridge.fetch_execution_input` does."""
        return self._open_bridge().fetch_execution_input(deployment_id, execution_id)

    def push_execution_output(
        self,
        deployment_id: UUID | str | None,
        execution_id: UUID | str,
        output: Any,
        usage: Any = None,
        messages: Any = None,
        state: Any = None,
        error: Any = None,
    ) -> None:
        """Push the execution's output, as `NatsBridge.push_execution_output` does."""
        self._open_bridge().push_execution_output(deployment_id, execution_id, output, usage, messages, state, error)

    def push_execution_event(
        self, deployment_id: UUID | str | None, execution_id: UUID | str, event_type: str, event_data: Any
    ) -> None:
        """Take an event of the execution and return at once, as `NatsBridge.push_execution_event` does."""
        self._open_bridge().push_execution_event(deployment_id, execution_id, event_type, event_data)

    def publish_execution_status(self, execution_id: UUID | str, status: str) -> None:
        """Publish the execution's status, as `NatsBridge.publish_execution_status` does."""
        self._open_bridge().publish_execution_status(execution_id, status)

    def execution_events(self, execution_id: ExecutionReference, from_sequence: int = 1) -> Iterator[ExecutionEvent]:
        """Follow the events of an execution, given by its id or a handle on it, as `NatsBridge.events` does."""
        return self._open_bridge().events(id_of(execution_id, self.settings), from_sequence)

    def _open_bridge(self) -> NatsBridge:
        """Return the bridge, made at first use: a script that speaks HTTP alone loads no NATS and starts no thread."""
        self._refuse_if_closed()
        if self._bridge_source is not None:
            return self._bridge_source._open_bridge()  # noqa: SLF001 - its own kind
        bridge = self._bridge or self._make_bridge()
        self._refuse_if_closed()  # `close` may have come before there was a bridge to close
        return bridge

    @property
    def _bridge(self) -> NatsBridge | None:
        return self._bridges.get(_OWN)

    def _refuse_if_closed(self) -> None:
        if self._bridge_closed:
            raise ClientClosedError("the client was closed; create a new one")

    def _make_bridge(self) -> NatsBridge:
        from flow_client.bridge import NatsBridge  # noqa: PLC0415 - see above

        # Threads may make one each. The first is taken; the others were never used and have nothing to close.
        return self._bridges.setdefault(_OWN, NatsBridge(self._nats_url))

    def _load_hints(self) -> None:
        """Import NATS in the caller's thread, if it is to be used: a fork amid an import would leave its lock held."""
        if self._nats_url is not None:
            import flow_client.bridge  # noqa: F401, PLC0415 - see `_open_bridge`

    def _open_hints(self) -> Hints | None:
        """Return the hints of the bridge, None without NATS. Nobody fails for want of them."""
        if self._nats_url is None or self._hints_failed:
            return None
        try:
            return self._open_bridge().hints
        except ClientClosedError:
            return None
        except Exception as error:  # noqa: BLE001 - see above
            self._hints_failed = True
            logger.warning("futures are looked at over HTTP alone: %s", error)
            return None

    def _close_bridge(self, *, quietly: bool = False) -> None:
        self._bridge_closed = True
        bridge = self._bridge
        if bridge is not None and quietly:
            bridge.close_quietly("at the end of a block that failed")
        elif bridge is not None:
            bridge.close()
