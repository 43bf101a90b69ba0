"""What requests, urllib3 and the sockets raise, told in our own errors."""

from __future__ import annotations

import re
import ssl
import zlib
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3 import exceptions as urllib3_errors

from flow_client.errors import (
    ConfigurationError,
    PlatformClientError,
    PlatformConnectionError,
    PlatformResponseError,
    PlatformTimeoutError,
)

if TYPE_CHECKING:
    from flow_client._http.exchange import HttpExchange

HTTP_ERRORS = (OSError, ValueError, HTTPException, urllib3_errors.HTTPError, zlib.error)
"""What requests, urllib3, http.client, ssl and sockets raise. Anything else is raised by code of the caller's own."""

_UNUSABLE = (
    *(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema),
    *(requests.exceptions.InvalidHeader, urllib3_errors.LocationValueError),
)
_NOT_CONNECTED = (
    *(requests.exceptions.ConnectTimeout, ssl.SSLCertVerificationError),
    *(urllib3_errors.NewConnectionError, urllib3_errors.NameResolutionError, urllib3_errors.ConnectTimeoutError),
)
_TLS_FAILURES = (requests.exceptions.SSLError, urllib3_errors.SSLError, ssl.SSLError)
_CUT_HANDSHAKE = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_CREDENTIALS = re.compile(r"//\S*@")
_BROKEN_BODY = (requests.exceptions.ContentDecodingError, urllib3_errors.DecodeError)


def translated(method: str, url: str, exchange: HttpExchange, error: Exception) -> PlatformClientError:
    """Return what `error` means, with `error` as its cause; a request whose fate is unknown counts as sent."""
    translated = _meaning(method, url, exchange, error)
    translated.__cause__ = _as_cause(error)
    return translated


def _meaning(method: str, url: str, exchange: HttpExchange, error: Exception) -> PlatformClientError:
    place = f"{method} {url}"
    # Later on requests says the same of headers that came.
    if isinstance(error, _UNUSABLE) and exchange.stage == "connect":
        return ConfigurationError(f"{place}: cannot be sent: {_reason(error)}")
    _note_unobserved(exchange, error)
    if isinstance(error, _BROKEN_BODY):
        return PlatformResponseError(f"{place}: the answer's content encoding is broken: {error}")
    stage = _stage(exchange, error)
    sent = "may have been received" if exchange.request_sent else "was not sent"
    context = {"request_sent": exchange.request_sent, "stage": stage}
    if exchange.deadline.remaining() <= 0:
        passed = f"the deadline of {exchange.deadline.seconds:g} s passed at the stage {stage!r}"
        return PlatformTimeoutError(f"{place}: {passed}; the request {sent}", **context)
    if stage == "connect":
        return PlatformConnectionError(_connection_failed(method, url, error, sent), **context)
    return PlatformConnectionError(
        f"{place}: failed at the stage {stage!r}: {_reason(error)}; the request {sent}", **context
    )


def _note_unobserved(exchange: HttpExchange, error: Exception) -> None:
    """Note how far a request came through somebody else's adapter: it was sent unless the error rules that out."""
    if exchange.observed or isinstance(error, _NOT_CONNECTED) or isinstance(innermost(error), _NOT_CONNECTED):
        return
    exchange.request_sent = True
    if exchange.stage == "connect" and not isinstance(error, _TLS_FAILURES):
        exchange.stage = "answer"


def _connection_failed(method: str, url: str, error: Exception, sent: str) -> str:
    parts = urlsplit(url)
    target, advice = f"{parts.scheme}://{parts.netloc}", "is the platform running there (base_url, PLATFORM_API_URL)?"
    if isinstance(error, requests.exceptions.ProxyError):
        target, advice = f"the proxy for {target}", f"check {parts.scheme.upper()}_PROXY and NO_PROXY"
    return f"cannot connect to {target}: {_reason(error)}; {method} {parts.path} {sent}; {advice}"


def _stage(exchange: HttpExchange, error: Exception) -> str:
    """Return the stage; `tls` only for what another attempt cannot help, not for a handshake that was cut."""
    cause = innermost(error)
    refused = isinstance(error, _TLS_FAILURES) or isinstance(cause, ssl.SSLCertVerificationError)
    if exchange.stage == "connect" and refused and not isinstance(cause, _CUT_HANDSHAKE):
        return "tls"
    return exchange.stage


def innermost(error: BaseException) -> BaseException:
    """Return the innermost error: urllib3 and requests put each other's into their arguments."""
    inner = [each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException)]
    return innermost(inner[0]) if inner else error


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without what urllib3 puts before it, and without a proxy's user and password."""
    cause = innermost(error)
    said = re.sub(r"^\w+\(host=.*?\): ", "", str(cause)).removeprefix("Failed to establish a new connection: ")
    return _CREDENTIALS.sub("//", said) or type(cause).__name__


def _as_cause(error: Exception) -> Exception | None:
    """Return `error` without its frames, which hold the request, token and all; None if it shows credentials.

    It has no causes of its own: urllib3 and requests repeat the message of each cause in their own.
    """
    if _CREDENTIALS.search(str(error)):
        return None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
