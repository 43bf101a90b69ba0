"""How a command is declared: with its options, the common ones, and its examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from flow_client.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Example = tuple[str, str]
    Printing = Literal["all", "notes", "nothing"]


class Command(click.Command):
    """A command that shows examples.

    Attributes:
        examples: pairs of what an example does and its command line.
    """

    examples: Sequence[Example] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Show the examples at the end of the help."""
        if not self.examples:
            return
        with formatter.section("Examples"):
            for number, (what, line) in enumerate(self.examples):
                if number:
                    formatter.write_paragraph()
                formatter.write_text(what)
                formatter.write(f"{'':>{formatter.current_indent + 2}}{line}\n")


def command(
    name: str, *, examples: Sequence[Example], is_connected: bool = True, prints: Printing = "all", **more: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Declare a function as a command, whose first argument is the `Options`.

    Args:
        name: the command's name.
        examples: pairs of what an example does and its command line.
        is_connected: whether it takes settings.
        prints: which options about what is printed it takes: `all`, `notes` for those but `--json`, or `nothing`.
        more: what `click.command` takes.
    """

    def declare(function: Callable[..., Any]) -> Command:
        declared = click.command(name, cls=Command, **more)(click.pass_obj(function))
        declared.params += options.settings() if is_connected else []
        declared.params += options.printing(has_json=prints == "all") if prints != "nothing" else []
        declared.examples = examples
        return declared

    return declare
