"""`flow-client events`: the events of an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options

_GO_ON = "interrupted; the execution goes on. To go on with its events: "


@declare(
    "events",
    examples=[
        ("Print the events that are stored:", "flow-client events $ID"),
        ("Follow them until the execution has ended:", "flow-client events $ID --follow --json"),
    ],
)
@click.argument("execution_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on until the execution has ended.")
@click.option("--from", "first", type=click.IntRange(min=1), default=1, metavar="N", help="Begin with event number N.")
def command(options: Options, execution_id: str, follow: bool, first: int) -> int:  # noqa: FBT001 - an option
    """Print the events of an execution.

    Each event is a line: its number, its type and its data. They come over NATS, in order, each once.
    """
    import itertools

    from flow_client.cli import exits, interrupts, report, watching
    from flow_client.cli.connection import connected

    output = options.output()
    following = itertools.count(first)
    again = options.command("events", execution_id)
    with (
        connected(options) as client,
        interrupts.explained(output, lambda: f"{_GO_ON}{again} --from {next(following)}"),
    ):
        client.get_execution_status(execution_id)  # of one that does not exist there would never be an event
        end = client.execution(execution_id).future() if follow else watching.now()
        for event in watching.events(client, execution_id, end, first):
            report.print_event(output, event)
            next(following)
    return exits.COMPLETED
