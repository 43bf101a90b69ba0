"""The client's settings: from arguments, else from the environment, else from a profile."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit

from flow_client._core.checks import identifier, rate, seconds, seconds_from_text, shown, whole_number
from flow_client._core.profile import Profile, read_profile
from flow_client._core.secret import Secret
from flow_client._core.synchronous import is_async
from flow_client._core.token_sources import TokenCommand, TokenFile
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from uuid import UUID

CheckedT = TypeVar("CheckedT")

DEFAULT_TIMEOUT = 300.0
DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024
DEFAULT_MAX_POLLS_PER_SECOND = 1000.0
VARIABLES = {
    "base_url": "PLATFORM_API_URL",
    "auth_token": "AUTH_TOKEN",
    "auth_token_file": "AUTH_TOKEN_FILE",
    "auth_token_command": "AUTH_TOKEN_COMMAND",
    "org_id": "ORG_ID",
    "workspace_id": "WORKSPACE_ID",
    "ring_id": "RING_ID",
    "timeout": "PLATFORM_TIMEOUT_SECONDS",
    "nats_url": "NATS_URL",
}
"""The environment variable of each setting that can be given in more than one way."""
_SECRETS = ("auth_token", "nats_url")


@dataclass(frozen=True)
class Setting:
    """A setting's value and where it came from.

    Attributes:
        value: what was given, not checked yet.
        origin: `argument`, `variable NAME` or `profile 'NAME' in FILE`.
    """

    value: Any
    origin: str


def find(name: str, argument: object, profile: Profile) -> Setting | None:
    """Return a setting: the argument wins over the environment, and that over the profile; None if nobody gave it."""
    if argument is not None:
        return Setting(argument, "argument")
    variable = VARIABLES[name]
    if _variable(variable) is not None:
        return Setting(
            Secret(_variable(variable) or "") if name in _SECRETS else _variable(variable), f"variable {variable}"
        )
    return Setting(profile.values[name], profile.origin) if name in profile.values else None


def find_token(profile: Profile) -> tuple[str, Setting] | None:
    """Return the name and value of the setting that the token comes from, if no argument gives it; None without one."""
    # Whatever the environment has wins over the profile.
    environment = Profile(profile.name, profile.path)
    for source in (environment, profile):
        for name in ("auth_token", "auth_token_file", "auth_token_command"):
            setting = find(name, None, source)
            if setting is not None:
                return name, setting
    return None


@dataclass(frozen=True)
class Settings:
    """The settings of a `PlatformClient`. Durations are seconds.

    The token is not among them: whatever shows or stores settings shows no secret.
    """

    base_url: str
    org_id: str | None = None
    workspace_id: str | None = None
    ring_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES
    max_polls_per_second: float = DEFAULT_MAX_POLLS_PER_SECOND
    nats_url: Secret | None = None
    execution_id: str | None = None
    deployment_id: str | None = None
    parent_billing_txn_id: str | None = None
    lifecycle_event: str | None = None

    def with_options(self, timeout: float | None, max_attempts: int | None) -> Settings:
        """Return a copy with what is given; raise `ConfigurationError` for a value that is not valid."""
        return replace(
            self,
            timeout=self.timeout if timeout is None else _duration(timeout),
            max_attempts=self.max_attempts if max_attempts is None else whole_number(max_attempts, "max_attempts"),
        )


def resolve(
    base_url: str | None = None,
    org_id: str | UUID | None = None,
    workspace_id: str | UUID | None = None,
    timeout: float | None = None,
    *,
    ring_id: str | UUID | None = None,
    nats_url: str | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES,
    max_polls_per_second: float = DEFAULT_MAX_POLLS_PER_SECOND,
    profile: Profile | None = None,
) -> Settings:
    """Return the settings: an argument wins over the environment, and that over the profile.

    An empty variable counts as unset, and so does an empty setting of a profile.

    Raises:
        ConfigurationError: `base_url` is missing, or a value is not valid.
    """
    profile = read_profile() if profile is None else profile
    nats_servers = _resolved("nats_url", _nats_url(nats_url) or None, profile, _nats_url)
    return Settings(
        base_url=_resolved("base_url", None if base_url == "" else base_url, profile, _base_url)
        or _missing("base_url"),
        org_id=_identifier("org_id", org_id, profile),
        workspace_id=_identifier("workspace_id", workspace_id, profile),
        ring_id=_identifier("ring_id", ring_id, profile),
        timeout=_resolved("timeout", None if timeout is None else _duration(timeout), profile, _timeout)
        or DEFAULT_TIMEOUT,
        max_attempts=whole_number(max_attempts, "max_attempts"),
        max_answer_bytes=whole_number(max_answer_bytes, "max_answer_bytes"),
        max_polls_per_second=rate(max_polls_per_second, "max_polls_per_second"),
        nats_url=Secret(nats_servers) if nats_servers else None,
        execution_id=_variable("EXECUTION_ID"),
        deployment_id=_variable("DEPLOYMENT_ID"),
        parent_billing_txn_id=_header_value("PARENT_BILLING_TXN_ID"),
        lifecycle_event=_header_value("LIFECYCLE_EVENT"),
    )


def _resolved(name: str, argument: object, profile: Profile, check: Callable[[Any], CheckedT]) -> CheckedT | None:
    """Return what `check` makes of a setting, None if nobody gave it; an error says where the value came from."""
    setting = find(name, argument, profile)
    if setting is None:
        return None
    try:
        return check(setting.value)
    except ConfigurationError as error:
        if setting.origin != profile.origin:
            raise
        raise ConfigurationError(f"{error}; it is from {profile.origin}") from None


def resolve_token(
    auth_token: Secret | Callable[[], str] | None, profile: Profile | None = None
) -> Secret | Callable[[], str]:
    """Return the token, or the function that returns one.

    Without an argument it is what `AUTH_TOKEN` holds, else the token of `AUTH_TOKEN_FILE` or `AUTH_TOKEN_COMMAND`, else
    that of the profile's `auth_token_file` or `auth_token_command`.

    Raises:
        ConfigurationError: there is none, or it cannot stand in a header.
    """
    if callable(auth_token):
        _refuse_async(auth_token, "auth_token")
        return auth_token
    if auth_token is not None and auth_token != "":
        return check_token(auth_token)
    name, setting = find_token(read_profile() if profile is None else profile) or _missing("auth_token")
    if name == "auth_token":
        return check_token(Secret(setting.value.reveal().strip()))
    return token_source(name, setting)


def token_source(name: str, setting: Setting) -> TokenFile | TokenCommand:
    """Return the function that reads the token as the setting `auth_token_file` or `auth_token_command` says."""
    if name == "auth_token_command":
        return TokenCommand(setting.value, setting.origin)
    return TokenFile(setting.value, setting.origin)


def check_token(token: object) -> Secret:
    """Return `token`, hidden, if it can stand in a header; raise `ConfigurationError`, without naming it, if not."""
    # Hidden first: a traceback that shows local variables shows this one.
    token = Secret(token) if isinstance(token, str) else token
    if isinstance(token, Secret) and re.fullmatch("[!-~]+", token.reveal()):
        return token
    raise ConfigurationError(
        "the token must be a non-empty string of printable ASCII without white space "
        f"(argument auth_token, variable AUTH_TOKEN), not {type(token).__name__}"
    )


def check_callback(on_auth_token_refresh: object) -> None:
    """Raise `ConfigurationError` unless the callback, if there is one, can be called."""
    if on_auth_token_refresh is not None and not callable(on_auth_token_refresh):
        raise ConfigurationError(
            f"on_auth_token_refresh is {type(on_auth_token_refresh).__name__}; it must be callable with a token"
        )
    _refuse_async(on_auth_token_refresh, "on_auth_token_refresh")


def _refuse_async(function: object, argument: str) -> None:
    if is_async(function):
        raise ConfigurationError(f"{argument} is an async function; it must be a plain one, which is called as it is")


def hidden(auth_token: str | Callable[[], str] | None) -> Secret | Callable[[], str] | None:
    """Return `auth_token` so that no traceback shows it; a function stays what it is."""
    if isinstance(auth_token, Secret) or not isinstance(auth_token, str):
        return auth_token
    return Secret(auth_token.strip())


def _variable(name: str) -> str | None:
    # The environment itself never becomes a local variable: a traceback that shows locals would show the token.
    return os.environ.get(name) or None


def _missing(name: str) -> NoReturn:
    profile_key = "auth_token_file" if name == "auth_token" else name
    raise ConfigurationError(
        f"{name} is missing: pass {name}=…, set {VARIABLES[name]}, or write {profile_key} into a profile"
    )


def _base_url(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"base_url is {shown(value)}; it must be a string like https://flow.example.com")
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        usable = False
    if not usable:
        # What stands before an @ may be a password, wherever the parser sees it.
        given = "a URL with a user or password, which is not shown" if "@" in value else shown(value)
        raise ConfigurationError(
            f"base_url is {given}; it must be like https://flow.example.com, without user, password, query or fragment "
            "(argument base_url, variable PLATFORM_API_URL)"
        )
    return value.strip().rstrip("/")


def _identifier(name: str, argument: object, profile: Profile) -> str | None:
    return _resolved(name, argument, profile, partial(identifier, name=name)) or None


def _nats_url(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # Whatever it is may hold a password.
    raise ConfigurationError(f"nats_url is {type(value).__name__}; it must be a string like nats://nats.example.com")


def _timeout(value: object) -> float:
    if isinstance(value, str):  # only a variable holds text
        return seconds_from_text(value, "PLATFORM_TIMEOUT_SECONDS (argument timeout)")
    return _duration(value)


def _duration(value: object) -> float:
    return seconds(value, "timeout", ConfigurationError)


def _header_value(variable: str) -> str | None:
    value = (_variable(variable) or "").strip()
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"{variable} is {value!r}; it must be printable ASCII to stand in a header")
    return value or None
