"""The JSON Web Tokens of the local platform (RFC 7519), signed with HS256."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jwt

ISSUER = "flow-local"
DEFAULT_LIFETIME = 24 * 3600.0
"""Seconds."""
RENEW_WHEN_LEFT = 0.2
"""A token is renewed when less than this part of its lifetime is left."""
_ALGORITHM = "HS256"


class TokenError(ValueError):
    """A token is not valid. The message says why and never contains the token."""


@dataclass(frozen=True)
class Claims:
    """What a token says: organisation, workspace, and when it was issued and expires, in seconds since the epoch.

    `level` is the nesting level of the executions that its bearer submits: 0 unless the bearer is a worker.
    """

    org_id: str
    workspace_id: str
    issued_at: float
    expires_at: float
    level: int = 0

    @property
    def is_due_for_renewal(self) -> bool:
        """Whether the token should be replaced by a new one."""
        return self.expires_at - time.time() < RENEW_WHEN_LEFT * (self.expires_at - self.issued_at)


def issue(key: str, org_id: str, workspace_id: str, expires_in: float = DEFAULT_LIFETIME, level: int = 0) -> str:
    """Return a token that expires in `expires_in` seconds; with 0 or less it has already expired."""
    now = time.time()
    times = {"iat": now, "exp": now + expires_in}
    claims = {"iss": ISSUER, **times, "org_id": org_id, "workspace_id": workspace_id, "level": level}
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def renew(key: str, claims: Claims) -> str:
    """Return a new token with the same claims and the same lifetime."""
    lifetime = claims.expires_at - claims.issued_at
    return issue(key, claims.org_id, claims.workspace_id, lifetime, claims.level)


def verify(key: str, token: str) -> Claims:
    """Return what a token says.

    Raises:
        TokenError: it was not signed with `key`, it has expired, or a claim is missing.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=ISSUER,
            options={"require": ["exp", "iat", "org_id", "workspace_id", "level"]},
        )
    except jwt.InvalidTokenError as error:
        raise TokenError(f"The token is not valid: {error}") from error
    return Claims(str(claims["org_id"]), str(claims["workspace_id"]), claims["iat"], claims["exp"], claims["level"])
