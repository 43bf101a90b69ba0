"""What the API answers when a request cannot be served."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import nats.errors
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from flow_client.local.api.submission import InputNotJsonError, InputTooLargeError, KeyReusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI, Request

_RETRY_AFTER = "1"
"""Seconds after which a client should try again while NATS does not answer."""
_logger = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Register the answers for all errors in `app`."""
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
    """Return the error for one invalid value of a request."""
    return RequestValidationError([{"loc": place, "msg": message, "type": "value_error"}])


async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    # The invalid value is left out: it may be a secret, or a number that JSON cannot express.
    detail = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in error.errors()]
    return JSONResponse({"detail": detail}, 422)


async def _not_json(_request: Request, error: InputNotJsonError) -> JSONResponse:
    return JSONResponse({"detail": [{"loc": ["body"], "msg": str(error), "type": "json_invalid"}]}, 422)


async def _too_large(_request: Request, error: InputTooLargeError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 413)


async def _key_reused(_request: Request, error: KeyReusedError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


async def _unavailable(_request: Request, error: nats.errors.Error) -> JSONResponse:
    _logger.warning("NATS does not answer: %s: %s", type(error).__name__, error)
    detail = "The platform's store does not answer; try again."
    return JSONResponse({"detail": detail}, 503, {"Retry-After": _RETRY_AFTER})


async def _failed(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "The platform failed; api.log in its store says why."}, 500)
