"""The program `flow-client`: finds the command, runs it, and turns what comes of it into an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from flow_client.cli import exits, interrupts
from flow_client.cli.group import LazyGroup
from flow_client.cli.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "flow-client"
COMPLETION_VARIABLE = "_FLOW_CLIENT_COMPLETE"


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted:
        import flow_client

        click.echo(f"{NAME} {flow_client.__version__}")
        context.exit()


program: LazyGroup = LazyGroup(
    NAME,
    help="Run and follow executions on the Flow platform.\n\nSettings come from options, else from the environment, "
    "else from a profile: `flow-client config show` lists them. Results go to standard output, everything else to "
    "standard error.",
    members={
        "run": "Run a component and print its output.",
        "status": "Print the status of executions.",
        "wait": "Wait for executions to end.",
        "result": "Print the output of an execution.",
        "cancel": "Ask for the cancellation of executions.",
        "events": "Print the events of an execution.",
        "logs": "Print the end of what an execution has printed.",
        "list": "Print the executions of the workspace, the newest first.",
        "map": "Run one execution for each line of a file.",
        "skills": "Print the skills that a service publishes.",
        "config": "Show the settings and where they come from.",
        "doctor": "Find out what is wrong between here and the platform.",
        "local": "Run a small platform on this machine.",
        "worker": "Run a function as an execution's worker.",
        "completion": "Print the completion script of a shell.",
    },
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Print the version and exit.",
        )
    ],
)


def run(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code."""
    try:
        interrupts.install()
        return _run(list(arguments))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _let_go_of_output()
        return exits.BROKEN_PIPE


def _run(arguments: list[str]) -> int:
    try:
        if COMPLETION_VARIABLE in os.environ:
            program.main(arguments, NAME, COMPLETION_VARIABLE)
        with program.make_context(NAME, arguments, obj=Options()) as context:
            return _exit_code(program.invoke(context))
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, it has an exit code
        return _failed(error)
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _exit_code(returned: Any) -> int:
    return returned if isinstance(returned, int) else exits.COMPLETED


def _failed(error: Exception) -> int:
    """Say what went wrong; raise what nobody foresaw to be seen in full."""
    code = exits.of_error(error)
    if isinstance(error, BrokenPipeError):
        raise error
    if code == exits.INTERNAL:
        import traceback

        traceback.print_exc()
    from flow_client.cli.output import Output

    Output(is_json=False).error(str(error) or type(error).__name__)
    return code


def _let_go_of_output() -> None:
    """Have nothing more written to the pipe, not even at the interpreter's exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        try:
            os.fstat(stream)
        except OSError:  # it was closed from the start
            continue
        os.dup2(nowhere, stream)
