"""`flow-client skills`: what a service publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flow_client.cli.command import command as declare

if TYPE_CHECKING:
    from flow_client.cli.options import Options


@declare("skills", examples=[("Print the skills of one version:", "flow-client skills search --version 1.2")])
@click.argument("service_id", metavar="SERVICE")
@click.option("--version", metavar="VERSION", help="The version; the newest by default.")
def command(options: Options, service_id: str, version: str | None) -> int:
    """Print the skills that a service publishes."""
    from flow_client.cli import exits
    from flow_client.cli.connection import connected

    output = options.output()
    with connected(options) as client:
        skills = client.get_service_skills(service_id, version=version)
    if output.is_json:
        output.json("skills", {"service_id": service_id, "skills": skills})
    else:
        output.value(skills)
    return exits.COMPLETED
