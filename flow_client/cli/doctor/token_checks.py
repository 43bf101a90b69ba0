"""Checks of the token: where it comes from, its form, and when it expires."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from flow_client import config as configuration
from flow_client._core.secret import Secret
from flow_client._core.token_sources import TokenFile
from flow_client.cli.doctor.finding import failed, ok, skipped, warning
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._core.profile import Profile
    from flow_client.cli.doctor.finding import Finding
    from flow_client.cli.doctor.situation import Situation

NAMES = ("token-source", "token-form", "token-scope", "token-expiry")
SOON = 60.0
"""Seconds: a token that expires within them may do so on the way."""
_JWT_PARTS = 3


class TokenChecks:
    """Finds the token and examines it.

    Attributes:
        token: the token, None before it was found.
    """

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self.token: Secret | None = None

    def check(self) -> Iterator[Finding]:
        """Yield what was found."""
        if self._situation.profile is None:
            yield from (skipped(name, "the profile comes first") for name in NAMES)
            return
        yield self._source(self._situation.profile)
        if self.token is None:
            yield from (skipped(name, "there is no token") for name in NAMES[1:])
            return
        claims = _claims(self.token.reveal())
        yield _form(self.token.reveal(), claims)
        if claims is None:
            yield from (skipped(name, "the token is not a JWT") for name in NAMES[2:])
            return
        yield self._scope(claims)
        yield _expiry(claims)

    def _source(self, profile: Profile) -> Finding:
        found = configuration.find_token(profile)
        if found is None:
            return failed("token-source", "there is no token", "set AUTH_TOKEN, AUTH_TOKEN_FILE or AUTH_TOKEN_COMMAND")
        name, setting = found
        try:
            token = configuration.resolve_token(None, profile)
            self.token = token if isinstance(token, Secret) else configuration.check_token(Secret(token()))
        except ConfigurationError as error:
            return failed("token-source", str(error), f"look at {name}, which comes from {setting.origin}")
        if isinstance(token, TokenFile) and token.is_readable_by_others:
            message = f"every user of this machine can read the token file {token.path}"
            return warning("token-source", message, f"chmod 600 {token.path}")
        return ok("token-source", f"{name} from {setting.origin}")

    def _scope(self, claims: dict[str, Any]) -> Finding:
        """Compare what the token says with the settings; a platform need not say it there."""
        for name in ("org_id", "workspace_id"):
            ours, theirs = getattr(self._situation, name), claims.get(name)
            if isinstance(theirs, str) and ours is not None and theirs != ours:
                message = f"the token is for {name} {theirs!r}, the settings say {ours!r}"
                return failed("token-scope", message, f"set {configuration.VARIABLES[name]}, or get another token")
        return ok("token-scope", "the token names no other organisation or workspace")


def _form(token: str, claims: dict[str, Any] | None) -> Finding:
    if claims is not None:
        return ok("token-form", "the token is a JWT")
    if token.count(".") == _JWT_PARTS - 1:
        return failed("token-form", "the token looks like a JWT but cannot be read", "copy it again, and whole")
    return warning(
        "token-form", "the token is not a JWT, so nothing is known of its expiry", "make sure that it is one"
    )


def _claims(token: str) -> dict[str, Any] | None:
    """Return what a JWT says, None if the token is none. Only the platform can check its signature."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        _, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def _expiry(claims: dict[str, Any]) -> Finding:
    now = time.time()
    begins, ends = claims.get("nbf"), claims.get("exp")
    if isinstance(begins, (int, float)) and begins > now + SOON:
        message = f"the token is valid only in {_duration(begins - now)}"
        return failed("token-expiry", message, "set this machine's clock, or get another token")
    if not isinstance(ends, (int, float)):
        return ok("token-expiry", "the token does not expire")
    if ends <= now:
        return failed("token-expiry", f"the token expired {_duration(now - ends)} ago", "get a new one")
    if ends <= now + SOON:
        return warning("token-expiry", f"the token expires in {_duration(ends - now)}", "get a new one")
    return ok("token-expiry", f"the token expires in {_duration(ends - now)}")


def _duration(seconds: float) -> str:
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
