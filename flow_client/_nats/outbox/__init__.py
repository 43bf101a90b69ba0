"""The outbox keeps what callers publish until it is stored. Import from here only, not from the modules inside."""

from flow_client._nats.outbox.outbox import BridgeStats, Outbox

__all__ = ["BridgeStats", "Outbox"]
