"""Who may ask: every request's token against the organisation and workspace in its path."""

from typing import Any

from fastapi import HTTPException, Request

from flow_client.local import tokens

_SCHEME = "Bearer "


class Authentication:
    """A FastAPI dependency of all operations; it leaves the token's claims in `request.state.claims`."""

    def __init__(self, signing_key: str) -> None:
        self._key = signing_key

    async def __call__(self, request: Request) -> None:
        """Refuse a request without a valid token with 401, another organisation or workspace with 404."""
        header = request.headers.get("authorization", "")
        if not header.startswith(_SCHEME):
            raise _unauthorized("The header Authorization: Bearer <token> is missing.")
        try:
            claims = tokens.verify(self._key, header[len(_SCHEME) :].strip())
        except tokens.TokenError as exc:
            raise _unauthorized(str(exc)) from exc
        self._check_path(request.path_params, claims)
        request.state.claims = claims
        if claims.is_due_for_renewal:
            request.state.renewed_token = tokens.renew(self._key, claims)

    def _check_path(self, path: dict[str, Any], claims: tokens.Claims) -> None:
        # 404 and not 403: whether somebody else's organisation exists is not the caller's to know.
        if path.get("org_id", claims.org_id) != claims.org_id:
            raise HTTPException(404, f"There is no organisation {path['org_id']!r} for this token.")
        if path.get("workspace_id", claims.workspace_id) != claims.workspace_id:
            raise HTTPException(404, f"There is no workspace {path['workspace_id']!r} for this token.")


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
