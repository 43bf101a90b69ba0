"""`flow-client local`: a small platform on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flow_client.cli.command import command as declare
from flow_client.cli.inputs import Seconds

if TYPE_CHECKING:
    from flow_client.cli.options import Options

command: click.Group = click.Group("local", help="Run a small platform on this machine.\n\nIt needs the extra [local].")


@declare(
    "start",
    examples=[("Run the components of a manifest:", "flow-client local start --components components.toml")],
    is_connected=False,
    prints="nothing",
)
@click.option("--components", required=True, metavar="FILE", help="The manifest: a TOML file with the components.")
@click.option("--port", metavar="N", help="The port of the API; any free port by default.")
@click.option("--store", metavar="DIR", help="The folder for executions and logs; a temporary one by default.")
@click.option("--nats-url", metavar="URL", help="A running NATS server with JetStream; one is started by default.")
@click.option("--max-workers", metavar="N", help="How many executions run at the same time.")
@click.option("--fresh-workers", is_flag=True, help="Run each execution in a newly started interpreter.")
def start(_options: Options, fresh_workers: bool, **given: Any) -> int:  # noqa: FBT001 - an option
    """Run a local platform until Ctrl-C.

    It prints the variables with which a client finds it. The exit code is 0 if it was asked to stop, 1 if a process of
    it failed, 2 if the manifest or an option is not valid.
    """
    from flow_client.cli.missing import needs_extra

    with needs_extra("local"):
        from flow_client.local.__main__ import main

    arguments = ["--fresh-workers"] if fresh_workers else []
    for name, value in given.items():
        arguments += [] if value is None else [f"--{name.replace('_', '-')}", value]
    return main(arguments)


@declare(
    "token",
    examples=[("Print a token for an hour:", "flow-client local token --store store --expires-in 3600")],
    is_connected=False,
    prints="nothing",
)
@click.option("--store", required=True, metavar="DIR", help="The folder that the platform was started with.")
@click.option("--org-id", metavar="ID", help="The organisation; the platform's own by default.")
@click.option("--workspace-id", metavar="ID", help="The workspace; the platform's own by default.")
@click.option(
    "--expires-in", type=Seconds(), default=86400, show_default=True, metavar="SECONDS", help="How long it is valid."
)
def token(options: Options, store: str, org_id: str | None, workspace_id: str | None, expires_in: float) -> int:
    """Print a token for a local platform that was started with --store."""
    from flow_client.cli import exits
    from flow_client.cli.missing import needs_extra

    with needs_extra("local"):
        from flow_client.local import settings, tokens
        from flow_client.local.store import signing_key_of

    organisation, workspace = org_id or settings.DEFAULT_ORG_ID, workspace_id or settings.DEFAULT_WORKSPACE_ID
    options.output().text(tokens.issue(signing_key_of(store), organisation, workspace, expires_in))
    return exits.COMPLETED


command.add_command(start)
command.add_command(token)
