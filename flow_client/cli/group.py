"""A group of commands that loads a command when it is called, and not to list it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """Its commands are `command` in the modules of `flow_client.cli.commands` that have their names.

    Args:
        name: the program's name.
        members: the commands' names and summaries, in the order in which they are listed.
        options: what `click.Group` takes.
    """

    def __init__(self, name: str, *, members: Mapping[str, str], **options: Any) -> None:
        super().__init__(name, **options)
        self._members = members

    def summary(self, name: str) -> str:
        """Return what a command does, without loading it."""
        return self._members[name]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands' names."""
        return list(self._members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Load a command; None if there is none with that name."""
        if cmd_name not in self._members:
            return None
        found: click.Command = import_module(f"flow_client.cli.commands.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._members.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like this."""
        names = [
            CompletionItem(name, help=summary) for name, summary in self._members.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]
