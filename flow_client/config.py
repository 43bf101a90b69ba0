"""The client's settings, from arguments and the environment."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

DEFAULT_TIMEOUT = 300.0
DEFAULT_MAX_ATTEMPTS = 3
DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What a `PlatformClient` was told (contract section 1). Durations are seconds.

    Secrets stay out of the representation.
    """

    base_url: str
    auth_token: str | Callable[[], str] = field(repr=False)
    org_id: str | None = None
    workspace_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES
    nats_url: str | None = field(default=None, repr=False)
    execution_id: str | None = None
    deployment_id: str | None = None
    parent_billing_txn_id: str | None = None
    lifecycle_event: str | None = None


def resolve(
    base_url: str | None = None,
    auth_token: str | Callable[[], str] | None = None,
    org_id: str | UUID | None = None,
    workspace_id: str | UUID | None = None,
    timeout: float | None = None,
    *,
    nats_url: str | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings: an argument wins over the environment, an empty variable counts as unset.

    Raises:
        ConfigurationError: `base_url` or `auth_token` is nowhere, or a value is unusable.
    """
    env = os.environ if environ is None else environ
    return Settings(
        base_url=_base_url(base_url or _required(env, "base_url", "PLATFORM_API_URL")),
        auth_token=_token(auth_token or _required(env, "auth_token", "AUTH_TOKEN")),
        org_id=_identifier(org_id, env, "ORG_ID"),
        workspace_id=_identifier(workspace_id, env, "WORKSPACE_ID"),
        timeout=_timeout(timeout, env),
        max_attempts=_positive(max_attempts, "max_attempts"),
        max_answer_bytes=_positive(max_answer_bytes, "max_answer_bytes"),
        nats_url=nats_url or env.get("NATS_URL") or None,
        execution_id=env.get("EXECUTION_ID") or None,
        deployment_id=env.get("DEPLOYMENT_ID") or None,
        parent_billing_txn_id=_header_value(env, "PARENT_BILLING_TXN_ID"),
        lifecycle_event=_header_value(env, "LIFECYCLE_EVENT"),
    )


def duration(value: object, name: str) -> float:
    """Return `value` as seconds; raise `ConfigurationError` unless it is a finite number above 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return float(value)
    raise ConfigurationError(f"{name} is {value!r}; it must be a number of seconds above 0")


def check_token(token: object) -> str:
    """Return `token` if it can stand in a header; raise `ConfigurationError`, without naming it, if not."""
    if isinstance(token, str) and token and token.isascii() and token.isprintable() and " " not in token:
        return token
    raise ConfigurationError("auth_token must be a non-empty string of printable ASCII without white space")


def _required(env: Mapping[str, str], argument: str, variable: str) -> str:
    value = env.get(variable)
    if value:
        return value
    raise ConfigurationError(f"{argument} is missing: pass {argument}=… or set {variable}")


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            f"base_url is {value!r}; it must be like https://flow.example.com, without user, query or fragment "
            "(argument base_url, variable PLATFORM_API_URL)"
        )
    return value.strip().rstrip("/")


def _token(value: str | Callable[[], str]) -> str | Callable[[], str]:
    return value if callable(value) else check_token(value.strip())


def _identifier(value: str | UUID | None, env: Mapping[str, str], variable: str) -> str | None:
    text = env.get(variable, "") if value is None else str(value)
    return text.strip() or None


def _timeout(value: float | None, env: Mapping[str, str]) -> float:
    if value is not None:
        return duration(value, "timeout")
    text = env.get("PLATFORM_TIMEOUT_SECONDS")
    if not text:
        return DEFAULT_TIMEOUT
    try:
        number: object = float(text)
    except ValueError:
        number = text
    return duration(number, "PLATFORM_TIMEOUT_SECONDS (argument timeout)")


def _positive(value: int, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ConfigurationError(f"{name} is {value!r}; it must be a whole number above 0")


def _header_value(env: Mapping[str, str], variable: str) -> str | None:
    value = (env.get(variable) or "").strip()
    if not value.isascii() or not (value.isprintable()):
        raise ConfigurationError(f"{variable} is {value!r}; it must be printable ASCII to stand in a header")
    return value or None
