"""What the API answers when something is wrong, and the request's id on every answer."""

import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import nats.errors
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from flow_client.local.api.submission import InputNotJsonError, InputTooLargeError, KeyReusedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_REQUEST_ID = b"x-request-id"
_MAX_REQUEST_ID = 128
_RETRY_AFTER = "1"
_logger = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Give `app` the answers to all that can go wrong."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]] = {
        RequestValidationError: _invalid,
        InputNotJsonError: _not_json,
        InputTooLargeError: _too_large,
        KeyReusedError: _key_reused,
        nats.errors.Error: _unavailable,
        Exception: _failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def invalid(place: tuple[str, ...], message: str) -> RequestValidationError:
    """Return the error for one unusable value of a request."""
    return RequestValidationError([{"loc": place, "msg": message, "type": "value_error"}])


async def _invalid(_request: Request, exc: RequestValidationError) -> JSONResponse:
    # The input is left out: it may be secret, and it may be a number that JSON has no form for.
    detail = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in exc.errors()]
    return JSONResponse({"detail": detail}, 422)


async def _not_json(_request: Request, exc: InputNotJsonError) -> JSONResponse:
    return JSONResponse({"detail": [{"loc": ["body"], "msg": str(exc), "type": "json_invalid"}]}, 422)


async def _too_large(_request: Request, exc: InputTooLargeError) -> JSONResponse:
    return JSONResponse({"detail": str(exc)}, 413)


async def _key_reused(_request: Request, exc: KeyReusedError) -> JSONResponse:
    return JSONResponse({"detail": str(exc)}, 422)


async def _unavailable(_request: Request, exc: nats.errors.Error) -> JSONResponse:
    _logger.warning("NATS does not answer: %s: %s", type(exc).__name__, exc)
    return JSONResponse({"detail": "The platform's store does not answer."}, 503, {"Retry-After": _RETRY_AFTER})


async def _failed(_request: Request, _exc: Exception) -> JSONResponse:
    return JSONResponse({"detail": "The platform failed; its log says why."}, 500)


class AnswerHeaders:
    """ASGI middleware: give back the request's X-Request-Id or a new one, and a renewed token if there is one."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
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
