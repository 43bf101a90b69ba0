"""`flow-client worker`: run a function as an execution's worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare(
    "worker",
    examples=[
        ("Run a container's handler:", "flow-client worker package.module:handler"),
        (
            "Call it here, without a platform:",
            """flow-client worker package.module:handler --input '{"text": "to be"}'""",
        ),
    ],
    is_connected=False,
    prints="nothing",
)
@click.argument("handler", metavar="MODULE:FUNCTION")
@click.option("--input", "input_data", metavar="JSON|@FILE|-", help="Call the function here with this input.")
@click.option("--config", metavar="JSON", help="With --input: the execution's configuration.")
def command(_options: Options, handler: str, input_data: str | None, config: str | None) -> int:
    """Run a function as an execution's worker.

    The execution comes from the environment: EXECUTION_ID, NATS_URL and the others that a container gets.
    docs/workers.md lists the exit codes.
    """
    from flow_client.worker.__main__ import main

    arguments = [handler]
    arguments += [] if input_data is None else ["--input", input_data]
    arguments += [] if config is None else ["--config", config]
    return main(arguments)
