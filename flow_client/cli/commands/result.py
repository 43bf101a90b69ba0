"""`flow-client result`: the output of an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare
from flow_client.cli.inputs import Seconds

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare(
    "result",
    examples=[
        ("Print the output:", "flow-client result $ID"),
        ("Do not wait if it has not ended:", "flow-client result $ID --timeout 0"),
    ],
)
@click.argument("execution_id", metavar="ID")
@click.option("--timeout", type=Seconds(zero=True), metavar="SECONDS", help="Wait no longer; 0 for one look.")
def command(options: Options, execution_id: str, timeout: float | None) -> int:
    """Print the output of an execution.

    It waits until the execution has ended. If it did not complete, standard error says why and the exit code says how
    it ended.
    """
    from flow_client.cli import interrupts, report, waiting
    from flow_client.cli.connection import connected

    output = options.output()
    again = f"interrupted; execution {execution_id} goes on. To wait again: {options.command('result', execution_id)}"
    with connected(options) as client, interrupts.explained(output, again):
        record = waiting.ended(client, execution_id, timeout)
    return report.print_result(output, record)
