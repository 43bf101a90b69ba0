"""The headers that every answer of the API has."""

import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = b"x-request-id"
_MAX_REQUEST_ID = 128


class AnswerHeaders:
    """ASGI middleware: return the request's X-Request-Id or a new one, and a renewed token if there is one."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = scope.setdefault("state", {})
        request_id = _request_id(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_REQUEST_ID, request_id)]
                if "renewed_token" in state:
                    message["headers"].append((b"x-auth-token", state["renewed_token"].encode()))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _request_id(scope: Scope) -> bytes:
    given: bytes = dict(scope.get("headers", ())).get(_REQUEST_ID, b"")
    usable = 0 < len(given) <= _MAX_REQUEST_ID and given.isascii() and given.decode("ascii").isprintable()
    return given if usable else str(uuid.uuid4()).encode()
