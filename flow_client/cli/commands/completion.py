"""`flow-client completion`: what makes a shell complete commands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare(
    "completion",
    examples=[
        ("For bash, in ~/.bashrc:", 'eval "$(flow-client completion bash)"'),
        ("For fish:", "flow-client completion fish > flow-client.fish"),
    ],
    is_connected=False,
    prints="nothing",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(options: Options, shell: str) -> int:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from flow_client.cli import exits, program

    kind = get_completion_class(shell)
    if kind is not None:
        options.output().text(kind(program.program, {}, program.NAME, program.COMPLETION_VARIABLE).source())
    return exits.COMPLETED
