"""The settings in force, each with where it comes from, and no secret among them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flow_client import config as configuration
from flow_client._core.profile import read_profile
from flow_client._core.secret import MASK
from flow_client._core.token_sources import is_token
from flow_client._nats.servers import holds_secret, resolve_servers
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._core.profile import Profile
    from flow_client.cli.options import Options

_ENVIRONMENT = (
    *("NATS_CREDS", "NATS_NKEY_SEED", "NATS_CA", "NATS_CERT", "NATS_KEY"),
    *("EXECUTION_ID", "DEPLOYMENT_ID", "PARENT_BILLING_TXN_ID", "LIFECYCLE_EVENT"),
)
"""Variables that have no argument and no place in a profile."""
_TOKENS = ("auth_token", "auth_token_file", "auth_token_command")


@dataclass(frozen=True)
class Effective:
    """A setting: its value for people, None if it is not set, and where it comes from."""

    name: str
    value: Any
    origin: str


def settings(options: Options) -> Iterator[Effective]:
    """Yield all settings.

    Raises:
        ConfigurationError: there is no such profile, or the file is not valid.
    """
    profile = read_profile(options.profile)
    yield Effective(
        "profile", profile.name, f"file {profile.path}" if profile.path.exists() else f"no file {profile.path}"
    )
    arguments = options.arguments()
    for name in configuration.VARIABLES:
        if name not in _TOKENS:
            yield _setting(name, arguments.get(name), profile)
    yield from _token(profile)
    for name in _ENVIRONMENT:
        yield _from_environment(name)


def _setting(name: str, argument: object, profile: Profile) -> Effective:
    found = configuration.find(name, argument, profile)
    if found is None:
        default = configuration.DEFAULT_TIMEOUT if name == "timeout" else None
        return Effective(name, default, "not set" if default is None else "default")
    return Effective(name, _without_secrets(name, found.value), found.origin)


def _without_secrets(name: str, value: Any) -> Any:
    if name == "base_url" and "@" in str(value):  # what stands before it may be a password
        return MASK
    if name != "nats_url":
        return value
    try:
        return str(resolve_servers(value, {}))  # the addresses alone
    except ConfigurationError:
        return MASK


def _token(profile: Profile) -> Iterator[Effective]:
    """Yield the three settings that a token can come from: one of them counts."""
    name, found = configuration.find_token(profile) or ("", None)
    for each in _TOKENS:
        if found is None or each != name:
            yield Effective(each, None, "not set" if found is None else f"not used: {name} is set")
        else:
            yield Effective(each, _shown_token(each, found.value), found.origin)


def _shown_token(name: str, value: Any) -> str:
    if name == "auth_token_file":
        return MASK if is_token(str(value)) else str(value)
    # A command's arguments may be secret.
    parts = value.split() if isinstance(value, str) else value
    return MASK if name == "auth_token" or not parts else f"{parts[0]} …"


def _from_environment(name: str) -> Effective:
    value = os.environ.get(name) or None
    if value is None:
        return Effective(name, None, "not set")
    return Effective(name, MASK if holds_secret(value) else value, f"variable {name}")
