"""`flow-client config`: the settings and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options

command: click.Group = click.Group("config", help="Show the settings and where they come from.")


@declare(
    "show",
    examples=[
        ("Print all settings of a profile:", "flow-client config show --profile staging"),
        ("Print where the token comes from:", "flow-client config show --json"),
    ],
)
def show(options: Options) -> int:
    """Print each setting and where it comes from.

    Secrets are masked. Nothing is sent, no token command is run.
    """
    from dataclasses import asdict

    from flow_client.cli import effective, exits

    output = options.output()
    for setting in effective.settings(options):
        if output.is_json:
            output.json("setting", asdict(setting))
        else:
            output.text(f"{setting.name:21} {'-' if setting.value is None else setting.value}  ({setting.origin})")
    return exits.COMPLETED


command.add_command(show)
