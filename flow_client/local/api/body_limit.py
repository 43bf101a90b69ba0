"""A limit on the size of requests' bodies."""

import json

from flow_client.local.api.headers import App, Message, Receive, Scope, Send

_TOO_LARGE = 413


class BodyLimit:
    """ASGI middleware: answer 413 to a request whose body is larger than `limit` bytes.

    The rest of such a body is read and thrown away: a client that still sends would not see the answer.
    """

    def __init__(self, app: App, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                await _skip_rest(message, receive)
                raise _TooLargeError
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLargeError:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        detail = f"The body is larger than {self._limit} bytes. Pass the name of a file or object instead."
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": _TOO_LARGE, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})


class _TooLargeError(BaseException):
    """Ends the application, which handles every `Exception` itself."""


async def _skip_rest(message: Message, receive: Receive) -> None:
    while message.get("more_body"):
        message = await receive()
