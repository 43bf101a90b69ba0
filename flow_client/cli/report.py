"""Prints what has come of executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client.cli import exits
from flow_client.errors import PlatformClientError, PlatformExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flow_client.cli.output import Output
    from flow_client.models import ExecutionEvent, ExecutionRecord


def fields_of(record: ExecutionRecord) -> dict[str, Any]:
    """Return a record as `--json` prints it: as it came, and how long it ran."""
    return {**record.to_dict(), **durations_of(record)}


def durations_of(record: ExecutionRecord) -> dict[str, float | None]:
    """Return how long an execution waited for its start and then ran, in seconds, as far as that is known."""
    waited = record.model_copy(update={"started_at": record.created_at, "finished_at": record.started_at}).duration
    return {"waited_seconds": waited, "ran_seconds": record.duration}


def print_status(output: Output, record: ExecutionRecord) -> int:
    """Print a line about an execution and return the exit code of its status."""
    if output.is_json:
        output.json("execution", fields_of(record))
    else:
        ran = "" if record.duration is None else f"  {record.duration:.3f} s"
        output.text(f"{record.execution_id}  {record.status}{ran}")
    return exits.of_status(record.status)


def print_result(output: Output, record: ExecutionRecord) -> int:
    """Print an execution's output, say why there is none, and return the exit code."""
    if output.is_json:
        output.json("execution", fields_of(record))
    elif record.is_completed:
        output.value(record.output)
    explain(output, record)
    return exits.of_status(record.status)


def explain(output: Output, record: ExecutionRecord) -> None:
    """Say on standard error why an execution did not complete."""
    try:
        record.raise_for_status()
    except PlatformExecutionError as error:
        output.error("\n".join([str(error), *getattr(error, "__notes__", ())]))


def each(output: Output, execution_ids: Sequence[str], do: Callable[[str], int]) -> int:
    """Call `do` with each execution's id and return the worst of the exit codes; an error counts as its own."""
    return exits.worst([_done(output, execution_id, do) for execution_id in execution_ids])


def _done(output: Output, execution_id: str, do: Callable[[str], int]) -> int:
    try:
        return do(execution_id)
    except PlatformClientError as error:
        return print_error(output, execution_id, error)


def print_error(output: Output, execution_id: str, error: PlatformClientError) -> int:
    """Say what went wrong with one of several executions and return the exit code; `--json` has a line for it too."""
    code = exits.of_error(error)
    if output.is_json:
        problem = {"type": type(error).__name__, "message": str(error)}
        output.json("error", {"execution_id": execution_id, "error": problem, "exit_code": code})
    output.error(str(error))
    return code


def print_event(output: Output, event: ExecutionEvent) -> None:
    """Print an event."""
    if output.is_json:
        output.json("event", event.to_dict())
    else:
        output.text(line_of(event))


def line_of(event: ExecutionEvent) -> str:
    """Return an event as a line for people."""
    from flow_client.cli.output import json_text

    return f"{event.sequence}  {event.event_type}  {json_text(event.event_data)}"
