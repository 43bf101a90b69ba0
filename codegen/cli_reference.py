"""The pages and manual pages of the command line, written from the commands themselves.

`python -m codegen.cli_reference` writes them, `--check` says whether they are current and exits 1 if not.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flow_client.cli.command import Command
from flow_client.cli.program import NAME, program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "cli"
MANUAL = ROOT / "docs" / "man"
_WRITTEN = "written by `make codegen` from the command itself: do not edit"


def files() -> dict[Path, str]:
    """Return the text of each page."""
    pages = {MANUAL / f"{NAME}.1": _program_manual()}
    for name in program.list_commands(_context(program, NAME)):
        commands = list(_commands(name))
        pages[PAGES / f"{name}.md"] = _page(name, commands)
        pages |= {MANUAL / f"{path.replace(' ', '-')}.1": _manual(path, command) for path, command in commands}
    return pages


def main(arguments: list[str]) -> int:
    """Write the pages, or check them, and return the exit code."""
    pages = files()
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what its command says: run `make codegen`")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


def _context(command: click.Command, path: str) -> click.Context:
    return click.Context(command, info_name=path, terminal_width=10_000, max_content_width=10_000)


def _commands(name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command, or the commands of a group, each with what is typed."""
    command = program.get_command(_context(program, NAME), name)
    if isinstance(command, click.Group):
        for each in command.commands:
            yield f"{NAME} {name} {each}", command.commands[each]
    elif command is not None:
        yield f"{NAME} {name}", command


def _page(name: str, commands: list[tuple[str, click.Command]]) -> str:
    parts = [f"<!-- {_WRITTEN} -->", f"# flow-client {name}", "[The command line](../cli.md)"]
    for path, command in commands:
        parts += [f"## {path}"] if len(commands) > 1 or path.count(" ") > 1 else []
        parts += [
            _text(command),
            f"```text\n{_usage(path, command)}\n```",
            *_examples_of(command),
            _table(path, command),
        ]
    return "\n\n".join(parts) + "\n"


def _text(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _usage(path: str, command: click.Command) -> str:
    return " ".join([path, *command.collect_usage_pieces(_context(command, path))])


def _examples_of(command: click.Command) -> list[str]:
    examples = command.examples if isinstance(command, Command) else ()
    return [f"{what}\n\n```sh\n{line}\n```" for what, line in examples]


def _options(path: str, command: click.Command) -> list[tuple[str, str]]:
    context = _context(command, path)
    records = (
        option.get_help_record(context) for option in command.get_params(context) if isinstance(option, click.Option)
    )
    return [record for record in records if record is not None]


def _table(path: str, command: click.Command) -> str:
    rows = [f"| `{option.replace('|', chr(92) + '|')}` | {what} |" for option, what in _options(path, command)]
    return "\n".join(["| option | |", "|---|---|", *rows])


def _manual(path: str, command: click.Command) -> str:
    summary, _, rest = _text(command).partition("\n\n")
    options = [
        part for option, what in _options(path, command) for part in (".TP", rf"\fB{_roff(option)}\fR", _roff(what))
    ]
    lines = [
        f'.\\" {_WRITTEN}',
        f'.TH "{path.replace(" ", "-").upper()}" 1 "" "{NAME}"',
        ".SH NAME",
        f"{_roff(path.replace(' ', '-'))} \\- {_roff(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        rf"\fB{_roff(path)}\fR {_roff(_usage(path, command).removeprefix(path).strip())}",
        ".SH DESCRIPTION",
        _roff(rest or summary),
        ".SH OPTIONS",
        *options,
        *_manual_examples(command),
        ".SH SEE ALSO",
        rf"\fB{_roff(NAME)}\fR(1)",
    ]
    return "\n".join(lines) + "\n"


def _manual_examples(command: click.Command) -> list[str]:
    examples = command.examples if isinstance(command, Command) else ()
    shown = [
        line for what, text in examples for line in (".PP", _roff(what), ".PP", ".nf", f"    {_roff(text)}", ".fi")
    ]
    return [".SH EXAMPLES", *shown] if shown else []


def _program_manual() -> str:
    summary, _, rest = (program.help or "").partition("\n\n")
    commands = [path for name in program.list_commands(_context(program, NAME)) for path, _ in _commands(name)]
    lines = [
        f'.\\" {_WRITTEN}',
        f'.TH "{NAME.upper()}" 1 "" "{NAME}"',
        ".SH NAME",
        f"{_roff(NAME)} \\- {_roff(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        rf"\fB{_roff(NAME)}\fR COMMAND [ARGS]...",
        ".SH DESCRIPTION",
        _roff(rest),
        ".SH SEE ALSO",
        ", ".join(rf"\fB{_roff(path.replace(' ', '-'))}\fR(1)" for path in commands),
    ]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Return text as roff shows it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    # A line that begins with one of these would be an instruction.
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in escaped.split("\n"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
