"""One HTTP exchange over requests, with every failure told in our own errors. The only file that imports requests.

The requests are prepared by hand and go to the adapter at once. What a `requests.Session` would add is what must not
happen here: `~/.netrc` in place of the token, redirects, cookies, and a look through the environment at every call.
"""

from __future__ import annotations

import re
import ssl
import sys
import zlib
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.util import parse_url

from flow_client._core.fork import renew_after_fork
from flow_client._http import connections
from flow_client.errors import (
    ConfigurationError,
    PlatformClientError,
    PlatformConnectionError,
    PlatformResponseError,
    PlatformTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL_SIZE = 64

# What requests, urllib3, http.client, ssl and sockets raise. Anything else is the caller's: a signal handler raised it.
_FAILURES = (OSError, ValueError, HTTPException, urllib3_errors.HTTPError, zlib.error)
_UNUSABLE = (
    *(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema),
    *(requests.exceptions.InvalidHeader, urllib3_errors.LocationValueError),
)
_TLS_FAILURES = (requests.exceptions.SSLError, urllib3_errors.SSLError, ssl.SSLError)
_CUT_HANDSHAKE = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_CREDENTIALS = re.compile(r"//\S*@")
_BROKEN_BODY = (requests.exceptions.ContentDecodingError, urllib3_errors.DecodeError)


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: the status, the headers without regard to case, and the whole body."""

    status: int
    # A renewed token may be among them.
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class _BoundedAdapter(HTTPAdapter):
    """An adapter whose connections keep to the deadline of the exchange."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = connections.POOL_CLASSES

    def __init__(self, **settings: Any) -> None:
        self._pool_keys: dict[tuple[str, object], Any] = {}
        super().__init__(**settings)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Look at the CA bundle once: requests asks the file system at each request, and takes any OSError for a no."""
        parts = urlsplit(request.url)
        key = (f"{parts.scheme}://{parts.netloc}", verify)
        if key not in self._pool_keys:
            self._pool_keys[key] = super().build_connection_pool_key_attributes(request, verify, cert)
        return self._pool_keys[key]

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise ConfigurationError("a SOCKS proxy cannot be used: give an HTTP proxy, or the host to NO_PROXY")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = connections.POOL_CLASSES
        return manager


class HttpSession:
    """Connections to the platform, shared by threads and renewed in a forked child.

    Attributes:
        closed: whether it was closed.
    """

    def __init__(self, max_answer_bytes: int) -> None:
        self.closed = False
        self._max_answer_bytes = max_answer_bytes
        self._adapter = _new_adapter()
        self._inherited: list[HTTPAdapter] = []
        self._environment: dict[str, dict[str, Any]] = {}
        renew_after_fork(self)

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, exchange: connections.Exchange
    ) -> HttpAnswer:
        """Send one request and return its answer, whatever its status. `exchange` is shared by a call's attempts.

        Raises:
            ConfigurationError: the URL, a proxy or a CA bundle cannot be used; nothing was sent.
            PlatformTimeoutError: the deadline passed, at the `stage` that the error names.
            PlatformConnectionError: no whole answer came; `request_sent` says whether the request may have arrived.
            PlatformResponseError: the answer is too large, or its content encoding is broken.
        """
        exchange.handled_before = sys.exc_info()[1]
        token = connections.current.set(exchange)
        try:
            request = requests.PreparedRequest()
            request.prepare(method=method, url=url, headers=headers, data=body)
            return self._send(request, exchange)
        except PlatformClientError:
            raise
        except _FAILURES as error:
            failure = exchange.interruption(error) or _translated(method, url, exchange, error)
        finally:
            exchange.stage = "back-off"
            connections.current.reset(token)
        # Outside of the `except`: an interruption must not get the error that wrapped it as its context.
        try:
            raise failure
        finally:
            # Its traceback holds this frame.
            del failure

    def refresh_environment(self) -> None:
        """Look up proxies and CA bundles in the environment anew."""
        self._environment.clear()

    def close(self) -> None:
        """Close the connections that are idle; one in use is closed when its answer has been read."""
        self.closed = True
        self._adapter.close()

    def after_fork_in_child(self) -> None:
        """Leave the inherited connections alone: closing them would speak on the parent's sockets."""
        self._inherited.append(self._adapter)
        self._adapter = _new_adapter()

    def _send(self, request: requests.PreparedRequest, exchange: connections.Exchange) -> HttpAnswer:
        seconds = exchange.remaining()
        exchange.stage = "connect"
        response = self._adapter.send(request, stream=True, timeout=seconds, **self._settings_for(str(request.url)))
        try:
            exchange.stage = "body"
            content = response.raw.read(self._max_answer_bytes + 1, decode_content=True)
        except BaseException:
            # What is left of the answer would be taken for the next one's.
            response.raw.close()
            raise
        if len(content) > self._max_answer_bytes:
            response.raw.close()
            raise PlatformResponseError(
                f"{request.method} {request.url}: the answer has more than {self._max_answer_bytes} bytes; "
                "raise max_answer_bytes if such an answer is wanted",
                status_code=response.status_code,
            )
        return HttpAnswer(response.status_code, response.headers, content)

    def _settings_for(self, url: str) -> dict[str, Any]:
        """Return proxies and verification for the origin of `url`, looked up once: it is a third of a call's time."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        settings = self._environment.get(origin)
        if settings is None:
            found = requests.Session().merge_environment_settings(origin, {}, None, None, None)
            settings = {name: found[name] for name in ("proxies", "verify", "cert")}
            _check_bundle(parts.scheme, settings["verify"])
            _check_proxy(requests.utils.select_proxy(origin, settings["proxies"]))
            self._environment[origin] = settings
        return settings


def _new_adapter() -> HTTPAdapter:
    return _BoundedAdapter(pool_connections=8, pool_maxsize=POOL_SIZE, max_retries=0)


def _check_bundle(scheme: str, verify: object) -> None:
    if scheme == "https" and isinstance(verify, str) and not Path(verify).exists():
        raise ConfigurationError(f"there is no CA bundle at {verify!r} (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)")


def _check_proxy(proxy: str | None) -> None:
    try:
        parse_url(proxy or "")
    except urllib3_errors.LocationParseError:
        # Not even as the cause: its message shows what may be a part of a password.
        message = "the proxy's URL, which is not shown, cannot be read; escape what is special in user and password"
        raise ConfigurationError(f"{message} (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY)") from None


def _translated(method: str, url: str, exchange: connections.Exchange, error: Exception) -> PlatformClientError:
    """Return what `error` means, with `error` as its cause; a request whose fate is unknown counts as sent."""
    translated = _meaning(method, url, exchange, error)
    translated.__cause__ = _as_cause(error)
    return translated


def _meaning(method: str, url: str, exchange: connections.Exchange, error: Exception) -> PlatformClientError:
    place = f"{method} {url}"
    # Later on requests says the same of headers that came.
    if isinstance(error, _UNUSABLE) and exchange.stage == "connect":
        return ConfigurationError(f"{place}: cannot be sent: {_reason(error)}")
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


def _connection_failed(method: str, url: str, error: Exception, sent: str) -> str:
    parts = urlsplit(url)
    target, advice = f"{parts.scheme}://{parts.netloc}", "is the platform running there (base_url, PLATFORM_API_URL)?"
    if isinstance(error, requests.exceptions.ProxyError):
        target, advice = f"the proxy for {target}", f"check {parts.scheme.upper()}_PROXY and NO_PROXY"
    return f"cannot connect to {target}: {_reason(error)}; {method} {parts.path} {sent}; {advice}"


def _stage(exchange: connections.Exchange, error: Exception) -> str:
    """Return the stage; `tls` only for what another attempt cannot mend, not for a handshake that was cut."""
    cause = _cause(error)
    refused = isinstance(error, _TLS_FAILURES) or isinstance(cause, ssl.SSLCertVerificationError)
    if exchange.stage == "connect" and refused and not isinstance(cause, _CUT_HANDSHAKE):
        return "tls"
    return exchange.stage


def _cause(error: BaseException) -> BaseException:
    """Return the innermost error: urllib3 and requests put each other's into their arguments."""
    inner = [each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException)]
    return _cause(inner[0]) if inner else error


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without what urllib3 puts before it, and without a proxy's user and password."""
    cause = _cause(error)
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
