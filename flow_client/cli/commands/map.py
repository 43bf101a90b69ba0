"""`flow-client map`: one execution for each line of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare
from flow_client.cli.inputs import JsonObject, Seconds
from flow_client.cli.kinds import SUBMITTED

if TYPE_CHECKING:
    from typing import Any

    from flow_client.cli.options import Options


@declare(
    "map",
    examples=[
        (
            "Count the words of each line's text; run again after an interruption, it goes on:",
            'flow-client map code-block count-words --inputs inputs.jsonl --out words.jsonl --key "n-$(date +%F)"',
        ),
        (
            "Run again what has failed, and print which lines have not completed:",
            'flow-client map workflow echo --inputs inputs.jsonl --out echo.jsonl --key "e-$(date +%F)" --retry-failed',
        ),
        (
            "In a pipe:",
            """cat inputs.jsonl | flow-client map workflow echo --inputs - --key "p-$(date +%s)" | grep -c completed""",
        ),
    ],
    prints="notes",
)
@click.argument("kind", type=click.Choice(SUBMITTED))
@click.argument("component_id", metavar="ID")
@click.option("--inputs", required=True, metavar="FILE|-", help="JSON lines: the input of each execution.")
@click.option("--out", default="-", metavar="FILE|-", help="Where the results go; standard output by default.")
@click.option(
    "--key", required=True, help="Names this batch. With the same key it takes up what an earlier run started."
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Executions at a time.",
)
@click.option("--retry-failed", is_flag=True, help="Run again what did not complete in an earlier run.")
@click.option("--config", type=JsonObject(), help="Settings for each execution that the component can read.")
@click.option("--ring", "ring_id", metavar="ID", help="The ring whose runners execute them; RING_ID by default.")
@click.option(
    "--time-limit", type=Seconds(), metavar="SECONDS", help="The platform ends each after this time; 300 by default."
)
def command(options: Options, **given: Any) -> int:
    """Run one execution for each line of a file.

    The results are JSON lines in the order of the inputs. However it is ended, also by SIGKILL, run the same command
    again: it goes on after the last result, takes up the executions that it finds and starts none twice, for as long as
    the platform remembers idempotency keys.

    Give each batch its own key, with a date or a run's name: yesterday's key brings yesterday's executions. The exit
    code is that of the worst result, those of earlier runs included.
    """
    from flow_client.cli.batch.job import Job

    return Job(options, **given).run()
