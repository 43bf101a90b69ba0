"""`flow-client status`: how executions are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare(
    "status",
    examples=[
        ("Print the status of an execution:", "flow-client status $ID"),
        ("Print the whole record:", "flow-client status $ID --json"),
    ],
)
@click.argument("execution_ids", metavar="ID...", nargs=-1, required=True)
def command(options: Options, execution_ids: tuple[str, ...]) -> int:
    """Print the status of executions.

    The exit code is that of `flow-client wait`: 4 if an execution goes on.
    """
    from flow_client.cli import report
    from flow_client.cli.connection import connected

    output = options.output()
    with connected(options) as client:
        return report.each(
            output, execution_ids, lambda each: report.print_status(output, client.get_execution_status(each))
        )
