"""The JSON Web Tokens of the local platform (RFC 7519), signed with HS256."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jwt

ISSUER = "flow-local"
DEFAULT_LIFETIME = 24 * 3600.0
RENEW_WHEN_LEFT = 0.2
_ALGORITHM = "HS256"


class TokenError(ValueError):
    """A token is not valid. The message says why and never names the token."""


@dataclass(frozen=True)
class Claims:
    """Whom a token speaks for, and when it was issued and ends, in seconds since the epoch."""

    org_id: str
    workspace_id: str
    issued_at: float
    expires_at: float

    @property
    def is_due_for_renewal(self) -> bool:
        """Whether less than a fifth of the token's lifetime is left."""
        return self.expires_at - time.time() < RENEW_WHEN_LEFT * (self.expires_at - self.issued_at)


def issue(key: str, org_id: str, workspace_id: str, expires_in: float = DEFAULT_LIFETIME) -> str:
    """Return a token for the workspace that ends in `expires_in` seconds; it has ended if that is not above 0."""
    now = time.time()
    claims = {"iss": ISSUER, "iat": now, "exp": now + expires_in, "org_id": org_id, "workspace_id": workspace_id}
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def verify(key: str, token: str) -> Claims:
    """Return what a token claims.

    Raises:
        TokenError: its signature is not of `key`, it has ended, or a claim is missing.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=ISSUER,
            options={"require": ["exp", "iat", "org_id", "workspace_id"]},
        )
    except jwt.InvalidTokenError as exc:
        raise TokenError(f"The token is not valid: {exc}") from exc
    return Claims(str(claims["org_id"]), str(claims["workspace_id"]), claims["iat"], claims["exp"])
