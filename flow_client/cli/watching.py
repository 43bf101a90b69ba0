"""Shows the events of executions."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client.cli.output import Output
    from flow_client.client import PlatformClient
    from flow_client.executions import ExecutionHandle
    from flow_client.models import ExecutionEvent, ExecutionRecord


def now() -> Future[None]:
    """Return the end of a reading that takes what is stored by now."""
    end: Future[None] = Future()
    end.set_result(None)
    return end


def events(client: PlatformClient, execution_id: str, end: Future[Any], first: int = 1) -> Iterator[ExecutionEvent]:
    """Yield an execution's events from number `first` on, until `end` is done and all that is stored then was yielded.

    Raises:
        ConfigurationError: there is no NATS server.
        BridgeError: NATS refused, or did not answer.
    """
    from flow_client.bridge import NatsBridge

    with NatsBridge(client.settings.nats_url) as bridge:
        yield from bridge.events(execution_id, first, until=end)


def ended(output: Output, client: PlatformClient, handle: ExecutionHandle, timeout: float | None) -> ExecutionRecord:
    """Return an execution's terminal record, and show its events in the meantime.

    Raises:
        ExecutionWaitTimeout: it has not ended in time.
        PlatformClientError: the wait failed.
    """
    end = handle.future(timeout)
    if client.settings.nats_url is None:
        output.note("there are no events to show without NATS: set NATS_URL or give --nats-url")
    else:
        _show(output, client, handle.execution_id, end)
    return end.result()


def _show(output: Output, client: PlatformClient, execution_id: str, end: Future[ExecutionRecord]) -> None:
    from flow_client.cli import report
    from flow_client.errors import BridgeError

    try:
        for event in events(client, execution_id, end):
            if output.is_json:
                report.print_event(output, event)
            else:
                output.note(report.line_of(event))
    except BridgeError as error:
        output.note(f"the events cannot be shown: {error}; still waiting for the end", is_important=True)
