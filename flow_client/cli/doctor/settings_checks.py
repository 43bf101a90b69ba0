"""Checks of the settings and where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client import config as configuration
from flow_client._core.profile import read_profile
from flow_client._core.secret import Secret
from flow_client.cli.doctor.finding import failed, ok, skipped
from flow_client.cli.doctor.situation import Situation
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from flow_client._core.profile import Profile
    from flow_client.cli.doctor.finding import Finding

_NEEDED = ("base_url", "org_id", "workspace_id")


def check(arguments: dict[str, Any]) -> tuple[Situation, list[Finding]]:
    """Return what is to be examined, and what was found about the profile and the settings."""
    try:
        profile = read_profile(arguments.get("profile"))
    except ConfigurationError as error:
        broken = failed("profile", str(error), "mend the file, or name another profile")
        return Situation(), [broken, skipped("settings", "the profile comes first")]
    used = f"{profile.origin} is read" if profile.values else f"no setting comes from {profile.path}"
    settings = {name: arguments.get(name) for name in (*_NEEDED, "nats_url", "timeout")}
    return _situation(settings, profile), [ok("profile", used), _settings(settings, profile)]


def _settings(arguments: dict[str, Any], profile: Profile) -> Finding:
    try:
        configuration.resolve(**arguments, profile=profile)
    except ConfigurationError as error:
        return failed("settings", str(error), "`flow-client config show` prints each setting and where it comes from")
    found = {name: configuration.find(name, arguments.get(name), profile) for name in _NEEDED}
    missing = [name for name, setting in found.items() if setting is None]
    if missing:
        variables = ", ".join(configuration.VARIABLES[name] for name in missing)
        return failed(
            "settings", f"{', '.join(missing)} missing: most calls need them", f"set {variables}, or use a profile"
        )
    origins = (f"{name} from {setting.origin}" for name, setting in found.items() if setting is not None)
    return ok("settings", "; ".join(origins))


def _situation(arguments: dict[str, Any], profile: Profile) -> Situation:
    try:
        settings = configuration.resolve(**arguments, profile=profile)
    except ConfigurationError:
        # Nothing is known of the API, but NATS can be asked all the same.
        found = configuration.find("nats_url", arguments.get("nats_url"), profile)
        return Situation(profile, nats_url=None if found is None else Secret(found.value))
    return Situation(profile, settings.base_url, settings.org_id, settings.workspace_id, settings.nats_url)
