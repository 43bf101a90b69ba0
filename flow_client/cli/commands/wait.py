"""`flow-client wait`: wait for the ends of executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare
from flow_client.cli.inputs import Seconds

if TYPE_CHECKING:
    from flow_client.cli.options import Options
    from flow_client.cli.output import Output
    from flow_client.errors import PlatformClientError
    from flow_client.models import ExecutionRecord


@declare(
    "wait",
    examples=[
        ("Wait for two executions, ten minutes at the most:", "flow-client wait $ID $ID2 --timeout 600"),
        ("Go on however they end:", "flow-client wait $ID $ID2 --for any"),
    ],
)
@click.argument("execution_ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--for",
    "goal",
    type=click.Choice(["completed", "any"]),
    default="completed",
    show_default=True,
    help="What makes the exit code 0: that all have completed, or that all have ended, however.",
)
@click.option("--timeout", type=Seconds(zero=True), metavar="SECONDS", help="Wait no longer; 0 for one look.")
def command(options: Options, execution_ids: tuple[str, ...], goal: str, timeout: float | None) -> int:
    """Wait for executions to end.

    Every end ends the wait, not only completion. Each execution has a line when it has ended; the exit code is that of
    the worst.
    """
    from flow_client.cli import exits, interrupts, waiting
    from flow_client.cli.connection import connected

    output = options.output()
    unique = list(dict.fromkeys(execution_ids))
    again = f"interrupted; what has not ended goes on. To wait again: {options.command('wait', *unique)}"
    with connected(options) as client, interrupts.explained(output, again):
        codes = [
            _print(output, execution_id, outcome, is_any=goal == "any")
            for execution_id, outcome in waiting.outcomes(client, unique, timeout)
        ]
    return exits.worst(codes)


def _print(output: Output, execution_id: str, outcome: ExecutionRecord | PlatformClientError, *, is_any: bool) -> int:
    from flow_client.cli import exits, report

    if isinstance(outcome, Exception):
        return report.print_error(output, execution_id, outcome)
    code = report.print_status(output, outcome)
    return exits.COMPLETED if is_any else code
