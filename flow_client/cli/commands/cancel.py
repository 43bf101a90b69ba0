"""`flow-client cancel`: ask for the cancellation of executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options
    from flow_client.cli.output import Output
    from flow_client.client import PlatformClient


@declare(
    "cancel",
    examples=[("Cancel an execution and see how it ends:", "flow-client cancel $ID && flow-client wait $ID --for any")],
)
@click.argument("execution_ids", metavar="ID...", nargs=-1, required=True)
def command(options: Options, execution_ids: tuple[str, ...]) -> int:
    """Ask for the cancellation of executions.

    The exit code is 0 if the platform has taken every request. An execution may still end otherwise.
    """
    from flow_client.cli import report
    from flow_client.cli.connection import connected

    output = options.output()
    with connected(options) as client:
        return report.each(output, execution_ids, lambda each: _cancel(output, client, each))


def _cancel(output: Output, client: PlatformClient, execution_id: str) -> int:
    from flow_client.cli import exits

    answer = client.cancel_execution(execution_id)
    if output.is_json:
        output.json("cancellation", {"execution_id": execution_id, **answer.to_dict()})
    else:
        output.text(f"{execution_id}  {answer.get('status') or 'cancellation asked for'}")
    return exits.COMPLETED
