"""`flow-client local`: a small platform on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options

command: click.Group = click.Group("local", help="Run a small platform on this machine.\n\nIt needs the extra [local].")


@declare(
    "start",
    examples=[("Run the components of a manifest:", "flow-client local start --components components.toml")],
    is_connected=False,
    prints="nothing",
)
@click.option(
    "--components", required=True, metavar="FILE", help="The manifest: a TOML file that lists the components."
)
@click.option("--port", metavar="N", help="The port of the API; any free port by default.")
@click.option("--store", metavar="DIR", help="The folder for executions and logs; a temporary one by default.")
@click.option("--nats-url", metavar="URL", help="A running NATS server with JetStream; one is started by default.")
@click.option("--max-workers", metavar="N", help="How many executions run at the same time.")
@click.option("--fresh-workers", is_flag=True, help="Run each execution in a new interpreter, not in a fork.")
def start(_options: Options, **given: Any) -> int:
    """Run a local platform until Ctrl-C.

    It prints the variables with which a client finds it. The exit code is 0 if it was asked to stop, 1 if a process of
    it failed, 2 if the manifest or an option is not valid.
    """
    from flow_client.cli.missing import needs_extra

    with needs_extra("local"):
        from flow_client.local.__main__ import main

    return main([part for name, value in given.items() if value not in (None, False) for part in _option(name, value)])


def _option(name: str, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    return [option] if value is True else [option, str(value)]


command.add_command(start)
