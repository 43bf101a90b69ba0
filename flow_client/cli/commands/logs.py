"""`flow-client logs`: what an execution has printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare("logs", examples=[("Print the end of the log:", "flow-client logs $ID")])
@click.argument("execution_id", metavar="ID")
def command(options: Options, execution_id: str) -> int:
    """Print the end of what an execution has printed.

    It can be read while the execution runs, too. Not every platform shows logs. On a terminal control characters are
    escaped; a pipe gets what was printed.
    """
    from flow_client.cli import exits
    from flow_client.cli.connection import connected

    output = options.output()
    with connected(options) as client:
        answer = client.get_execution_logs(execution_id)
    if output.is_json:
        output.json("logs", answer.to_dict())
    elif answer.logs:
        output.raw(answer.logs)
    return exits.COMPLETED
