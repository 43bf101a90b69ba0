"""Profiles: named settings in the file `~/.config/flow-client/config.toml`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow_client._core.checks import shown
from flow_client._core.secret import Secret
from flow_client.errors import ConfigurationError

DEFAULT_PROFILE = "default"
VARIABLE = "FLOW_PROFILE"
_TEXTS = ("base_url", "org_id", "workspace_id", "ring_id", "nats_url", "auth_token_file")
_KEYS = (*_TEXTS, "timeout", "auth_token_command")
_SECRETS = ("nats_url",)
_HIDDEN = (*_SECRETS, "auth_token_command")
"""What no message shows: a command's arguments may be secret."""


@dataclass(frozen=True)
class Profile:
    """The settings of one profile.

    Attributes:
        name: the table's name in the file.
        path: the file; it need not exist.
        values: the settings by name.
    """

    name: str
    path: Path
    values: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """Where its settings come from, for people."""
        return f"profile {self.name!r} in {self.path}"


def profile_file() -> Path:
    """Return the path of the file, whether it exists or not."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    return Path(folder or os.path.expanduser("~/.config"), "flow-client", "config.toml")  # noqa: PTH111 - it never raises


def read_profile(name: str | None = None) -> Profile:
    """Return a profile: `name`, else that of `FLOW_PROFILE`, else `default`.

    Nobody needs a file or a profile `default`: without it, the profile is empty.

    Raises:
        ConfigurationError: the named profile does not exist, or the file or a setting in it is not valid.
    """
    if not (name is None or (isinstance(name, str) and name)):
        raise ConfigurationError(f"profile is {shown(name)}; it must be the name of a profile")
    wanted = name or os.environ.get(VARIABLE)
    path = profile_file()
    tables = _tables(path)
    if wanted and wanted not in tables:
        known = f"it has {', '.join(map(repr, tables))}" if tables else "the file does not exist or is empty"
        raise ConfigurationError(
            f"there is no profile {wanted!r} in {path}: {known} (argument profile, variable {VARIABLE})"
        )
    profile = Profile(wanted or DEFAULT_PROFILE, path, tables.get(wanted or DEFAULT_PROFILE, {}))
    return Profile(profile.name, path, _checked(profile))


def _tables(path: Path) -> dict[str, Any]:
    text = _text(path)
    if text is None:
        return {}
    import sys  # noqa: PLC0415 - most have no such file, and pay for no parser

    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - as above
    else:
        import tomli as tomllib  # noqa: PLC0415 - as above
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigurationError(
                f"{name!r} in {path} stands outside of a profile; write it below a line like [{DEFAULT_PROFILE}]"
            )
    return tables


def _text(path: Path) -> str | None:
    """Return the file's text, None if it does not exist or if this user may not even look."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        # A service may run with another user's home: then the file is none of its business.
        if not os.access(path.parent, os.X_OK):
            return None
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _checked(profile: Profile) -> dict[str, Any]:
    values = {}
    for name, value in profile.values.items():
        _check(profile, name, value)
        if value != "":
            values[name] = Secret(value) if name in _SECRETS else value
    if {"auth_token_file", "auth_token_command"} <= values.keys():
        raise ConfigurationError(f"{profile.origin} has auth_token_file and auth_token_command; keep one of them")
    return values


def _check(profile: Profile, name: str, value: Any) -> None:
    if name == "auth_token":
        raise ConfigurationError(
            f"auth_token is in {profile.origin}; a token does not belong there: write it to a file of its own and name "
            "that in auth_token_file, or name a command that prints it in auth_token_command"
        )
    if name not in _KEYS:
        raise ConfigurationError(f"{name!r} is not known in {profile.origin}; a profile has {', '.join(_KEYS)}")
    if not _has_form(name, value):
        given = type(value).__name__ if name in _HIDDEN else shown(value)
        raise ConfigurationError(f"{name} is {given} in {profile.origin}; it must be {_form(name)}")


def _has_form(name: str, value: Any) -> bool:
    if name == "timeout":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "auth_token_command" and isinstance(value, list):
        return bool(value) and all(isinstance(part, str) for part in value)
    return isinstance(value, str)


def _form(name: str) -> str:
    if name == "timeout":
        return "a number of seconds"
    return "a string or a list of strings" if name == "auth_token_command" else "a string"
