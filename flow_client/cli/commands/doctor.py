"""`flow-client doctor`: what is wrong between here and the platform, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.doctor.finding import Finding
    from flow_client.cli.options import Options
    from flow_client.cli.output import Output


@declare(
    "doctor",
    examples=[
        ("Examine the settings, the platform and NATS:", "flow-client doctor"),
        ("Find out too whether the platform holds requests:", "flow-client doctor --execution $ID --json"),
    ],
)
@click.option(
    "--execution", "execution_id", metavar="ID", help="An execution to ask about; nothing is started or changed."
)
def command(options: Options, execution_id: str | None) -> int:
    """Find out what is wrong between here and the platform.

    Each check has a line with its name and, if it has failed, the cure. It takes three seconds at the most. The exit
    code is 0 if no check has failed, else that of the first one that has.
    """
    from flow_client.cli import exits
    from flow_client.cli.doctor import examine

    output = options.output()
    findings = examine(execution_id=execution_id, **options.arguments())
    for finding in findings:
        _print(output, finding)
    return next((finding.exit_code for finding in findings if finding.status == "failed"), exits.COMPLETED)


def _print(output: Output, finding: Finding) -> None:
    if output.is_json:
        fields = {"name": finding.name, "status": finding.status, "message": finding.message, "cure": finding.cure}
        output.json("check", fields)
        return
    output.text(f"{finding.status:8} {finding.name:16} {finding.message}")
    if finding.cure is not None:
        output.text(f"{'':25} -> {finding.cure}")
