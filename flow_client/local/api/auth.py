"""Authentication: every request's token is checked against the organisation and workspace in its path."""

from typing import Any

from fastapi import HTTPException, Request

from flow_client.local import tokens

_SCHEME = "Bearer "


class Authentication:
    """A FastAPI dependency of all operations. It puts the token's claims into `request.state.claims`."""

    def __init__(self, signing_key: str) -> None:
        self._key = signing_key

    async def __call__(self, request: Request) -> None:
        """Answer 401 unless the token is valid, and 404 if the path names another organisation or workspace."""
        header = request.headers.get("authorization", "")
        if not header.startswith(_SCHEME):
            raise _unauthorized("The header Authorization: Bearer <token> is missing.")
        try:
            claims = tokens.verify(self._key, header[len(_SCHEME) :].strip())
        except tokens.TokenError as error:
            raise _unauthorized(str(error)) from error
        self._check_path(request.path_params, claims)
        request.state.claims = claims
        if claims.is_due_for_renewal:
            request.state.renewed_token = tokens.renew(self._key, claims)

    def _check_path(self, path: dict[str, Any], claims: tokens.Claims) -> None:
        # 404 and not 403: a caller must not learn which other organisations exist.
        if path.get("org_id", claims.org_id) != claims.org_id:
            raise HTTPException(404, f"There is no organisation {path['org_id']!r}, or the token is not valid for it.")
        if path.get("workspace_id", claims.workspace_id) != claims.workspace_id:
            raise HTTPException(
                404, f"There is no workspace {path['workspace_id']!r}, or the token is not valid for it."
            )


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
