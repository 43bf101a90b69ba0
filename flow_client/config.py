"""The client's settings, from arguments and the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flow_client._core.checks import identifier, rate, seconds, seconds_from_text, shown, whole_number
from flow_client._core.secret import Secret
from flow_client._core.synchronous import is_async
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

DEFAULT_TIMEOUT = 300.0
DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024
DEFAULT_MAX_POLLS_PER_SECOND = 50.0


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
) -> Settings:
    """Return the settings: an argument wins over the environment, an empty variable counts as unset.

    Raises:
        ConfigurationError: `base_url` is missing, or a value is not valid.
    """
    nats_servers = _nats_url(nats_url) or _variable("NATS_URL")
    return Settings(
        base_url=_base_url(_required("base_url", "PLATFORM_API_URL") if base_url in (None, "") else base_url),
        org_id=_identifier(org_id, "org_id"),
        workspace_id=_identifier(workspace_id, "workspace_id"),
        ring_id=_identifier(ring_id, "ring_id"),
        timeout=_timeout(timeout),
        max_attempts=whole_number(max_attempts, "max_attempts"),
        max_answer_bytes=whole_number(max_answer_bytes, "max_answer_bytes"),
        max_polls_per_second=rate(max_polls_per_second, "max_polls_per_second"),
        nats_url=Secret(nats_servers) if nats_servers else None,
        execution_id=_variable("EXECUTION_ID"),
        deployment_id=_variable("DEPLOYMENT_ID"),
        parent_billing_txn_id=_header_value("PARENT_BILLING_TXN_ID"),
        lifecycle_event=_header_value("LIFECYCLE_EVENT"),
    )


def resolve_token(auth_token: Secret | Callable[[], str] | None) -> Secret | Callable[[], str]:
    """Return the token, or the function that returns one, else what `AUTH_TOKEN` holds.

    Raises:
        ConfigurationError: there is none, or it cannot stand in a header.
    """
    if callable(auth_token):
        _refuse_async(auth_token, "auth_token")
        return auth_token
    if auth_token is None or auth_token == "":
        return check_token(_required("auth_token", "AUTH_TOKEN").strip())
    return check_token(auth_token)


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


def _required(argument: str, variable: str) -> str:
    value = _variable(variable)
    if value:
        return value
    raise ConfigurationError(f"{argument} is missing: pass {argument}=… or set {variable}")


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


def _identifier(value: object, name: str) -> str | None:
    return identifier((_variable(name.upper()) or "") if value is None else value, name) or None


def _nats_url(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # Whatever it is may hold a password.
    raise ConfigurationError(f"nats_url is {type(value).__name__}; it must be a string like nats://nats.example.com")


def _timeout(value: float | None) -> float:
    if value is not None:
        return _duration(value)
    text = _variable("PLATFORM_TIMEOUT_SECONDS")
    return DEFAULT_TIMEOUT if text is None else seconds_from_text(text, "PLATFORM_TIMEOUT_SECONDS (argument timeout)")


def _duration(value: object) -> float:
    return seconds(value, "timeout", ConfigurationError)


def _header_value(variable: str) -> str | None:
    value = (_variable(variable) or "").strip()
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"{variable} is {value!r}; it must be printable ASCII to stand in a header")
    return value or None
