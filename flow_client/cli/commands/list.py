"""`flow-client list`: what ran."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare
from flow_client.cli.kinds import KINDS

if TYPE_CHECKING:
    from flow_client.cli.options import Options
    from flow_client.cli.output import Output
    from flow_client.models import ExecutionSummary

_PAGE_SIZE = 100


@declare(
    "list",
    examples=[
        ("Print the newest executions:", "flow-client list"),
        (
            "Print the ids of what has failed:",
            "flow-client list --status failed --status dead_letter --limit 1000 | cut -d ' ' -f 1",
        ),
    ],
)
@click.option("--status", "statuses", multiple=True, metavar="STATUS", help="Only with this status; can be repeated.")
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind.")
@click.option("--component", "component_id", metavar="ID", help="Only of this component.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="At most this many."
)
def command(options: Options, statuses: tuple[str, ...], kind: str | None, component_id: str | None, limit: int) -> int:
    """Print the executions of the workspace, the newest first.

    Each has a line: its id, its status, its component and when it was submitted. Not every platform lists executions.
    """
    from flow_client.cli import exits
    from flow_client.cli.connection import connected

    output = options.output()
    with connected(options) as client:
        executions = client.list_executions(
            status=statuses or None,
            kind=None if kind is None else kind.replace("-", "_"),
            component_id=component_id,
            page_size=min(limit, _PAGE_SIZE),
        )
        for execution in itertools.islice(executions, limit):
            _print(output, execution)
    return exits.COMPLETED


def _print(output: Output, execution: ExecutionSummary) -> None:
    if output.is_json:
        output.json("summary", execution.to_dict())
        return
    component = execution.component or {}
    what = f"{component.get('kind', '-')} {component.get('id', '-')}"
    created = execution.get("created_at") or "-"
    output.text(f"{execution.execution_id}  {execution.status:11} {created}  {what}")
