"""An execution's messages there and back."""

import uuid

from flow_client import NatsBridge


def publish(url):
    """Publish a status and two events of a new execution through a bridge; return the data of the events read back."""
    execution_id = str(uuid.uuid4())
    with NatsBridge(url, connect_timeout=5, publish_timeout=10) as bridge:
        bridge.publish_execution_status(execution_id, "running")
        bridge.push_execution_event(None, execution_id, "chunk", 1)
        bridge.push_execution_event(None, execution_id, "done", 2)
        bridge.flush(10)
        return [event.event_data for event in bridge.events(execution_id)]
