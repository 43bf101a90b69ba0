"""The options that many commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flow_client.cli.inputs import Seconds

if TYPE_CHECKING:
    from flow_client.cli.output import Output


class Options:
    """What the common options say. Those that were not given are None.

    Attributes:
        profile: the profile's name.
        base_url: the API's URL.
        org_id: the organisation.
        workspace_id: the workspace.
        nats_url: the NATS servers.
        request_timeout: seconds for one request, retries included.
        is_json: print JSON.
        is_quiet: say nothing but results and errors.
        is_verbose: log what is done.
    """

    def __init__(self) -> None:
        self.profile: str | None = None
        self.base_url: str | None = None
        self.org_id: str | None = None
        self.workspace_id: str | None = None
        self.nats_url: str | None = None
        self.request_timeout: float | None = None
        self.is_json = False
        self.is_quiet = False
        self.is_verbose = False

    def output(self) -> Output:
        """Return what the command prints with."""
        from flow_client.cli.output import Output

        return Output(is_json=self.is_json, is_quiet=self.is_quiet)

    def arguments(self) -> dict[str, Any]:
        """Return the settings as arguments of `PlatformClient`."""
        names = ("profile", "base_url", "org_id", "workspace_id", "nats_url")
        return {**{name: getattr(self, name) for name in names}, "timeout": self.request_timeout}

    def command(self, name: str, *arguments: str) -> str:
        """Return a command line for the same platform as this one's, for people to type."""
        import shlex

        values = (("--profile", self.profile), ("--base-url", self.base_url), ("--org-id", self.org_id))
        given = [
            part
            for option, value in (*values, ("--workspace-id", self.workspace_id))
            if value
            for part in (option, value)
        ]
        return shlex.join(["flow-client", name, *given, *arguments])


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Put a common option's value into the context's `Options`."""
    if parameter.name is not None:
        setattr(context.ensure_object(Options), parameter.name, value)


def _common(*names: str, **more: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_keep, **more)


def settings() -> list[click.Parameter]:
    """Return the options of a command that talks to the platform."""
    return [
        _common("--profile", metavar="NAME", help="The profile to take settings from."),
        _common("--base-url", metavar="URL", help="The URL of the platform's API."),
        _common("--org-id", metavar="ID", help="The organisation."),
        _common("--workspace-id", metavar="ID", help="The workspace."),
        _common("--nats-url", metavar="URL", help="The NATS servers, separated by commas."),
        _common("--request-timeout", metavar="SECONDS", type=Seconds(), help="Time for one request, retries included."),
    ]


def printing(*, has_json: bool) -> list[click.Parameter]:
    """Return the options that say what is printed; a command that prints nothing but JSON has no option for it."""
    json = [_common("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")]
    return [
        *(json if has_json else []),
        _common("-q", "--quiet", "is_quiet", is_flag=True, help="Print results and errors only."),
        _common("-v", "--verbose", "is_verbose", is_flag=True, help="Log what is done to standard error."),
    ]
