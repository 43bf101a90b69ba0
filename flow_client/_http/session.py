"""One HTTP exchange over a `requests.Session`.

The session's own `send`, hooks and adapters are used, so that whatever intercepts requests intercepts this too. What a
session does on its own account is kept out: `~/.netrc` in place of the token, redirects, cookies, and looking through
the environment at every call.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from flow_client._core.lifecycle import renew_after_fork
from flow_client._http.adapter import NoCookies, PlatformRequest, PlatformSession, renew_pools
from flow_client._http.exchange import current
from flow_client._http.failures import HTTP_ERRORS, translated
from flow_client.errors import ConfigurationError, PlatformClientError, PlatformResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flow_client._http.exchange import HttpExchange

_CHUNK = 65536
"""Bytes that are read at a time, between two looks at the size and the deadline."""


@dataclass(eq=False)
class HttpAnswer:
    """What came back: the status, the headers without regard to case, and the whole body."""

    status: int
    # A renewed token may be among them.
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Route:
    """The way to the platform.

    Attributes:
        url: the platform's URL.
        target: what a request's first line has before the path: nothing, the path of `url`, or all of it for a proxy.
        options: the proxies, the verification and the client certificate.
    """

    url: str
    target: str
    options: dict[str, Any] = field(repr=False)


class HttpSession:
    """Connections to the platform, shared by threads and renewed in a forked child.

    Attributes:
        closed: whether it was closed.
    """

    def __init__(self, base_url: str, max_answer_bytes: int, session: requests.Session | None = None) -> None:
        """Use the caller's `session`, which stays the caller's to close, or one of our own.

        Raises:
            ConfigurationError: `session` is not a `requests.Session`.
        """
        if session is not None and not isinstance(session, requests.Session):
            raise ConfigurationError(f"session is {type(session).__name__}; it must be a requests.Session")
        self.closed = False
        self._base_url = base_url
        self._max_answer_bytes = max_answer_bytes
        self._session = PlatformSession() if session is None else session
        self._is_own = session is None
        self._inherited: list[object] = []
        self._route: _Route | None = None
        renew_after_fork(self)

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, exchange: HttpExchange
    ) -> HttpAnswer:
        """Send one request and return its answer, whatever its status. `exchange` is shared by a call's attempts.

        Raises:
            ConfigurationError: the URL, a proxy or a CA bundle cannot be used. Nothing was sent.
            PlatformTimeoutError: the deadline passed, at the `stage` that the error names.
            PlatformConnectionError: no complete answer arrived; `request_sent` says whether the request may have.
            PlatformResponseError: the answer is too large, or its content encoding is broken.
        """
        exchange.handled_before = sys.exc_info()[1]
        token = current.set(exchange)
        try:
            exchange.stage, exchange.observed = "connect", True
            # Looked up once for the request and its options: another thread may refresh the environment.
            route = self._looked_up_route()
            return self._send(self._prepared(route, method, path, headers, body), route.options, exchange)
        except PlatformClientError:
            raise
        except HTTP_ERRORS as error:
            failure = exchange.interruption(error) or translated(method, self._base_url + path, exchange, error)
        finally:
            exchange.stage = "back-off"
            current.reset(token)
        # Outside of the `except`: an interruption must not get the error that wrapped it as its context.
        try:
            raise failure
        finally:
            # Its traceback holds this frame.
            del failure

    def proxy(self) -> str | None:
        """Return the URL of the proxy on the way to the platform, which may hold a password; None without one.

        Raises:
            ConfigurationError: the proxy's URL cannot be read, or the CA bundle does not exist.
        """
        route = self._looked_up_route()
        proxy: str | None = requests.utils.select_proxy(route.url, route.options["proxies"])
        return proxy

    def refresh_environment(self) -> None:
        """Read proxies and CA bundles from the environment again."""
        self._route = None

    def close(self) -> None:
        """Close the connections that are idle, unless the session is the caller's; one in use is closed after use."""
        self.closed = True
        if self._is_own:
            self._session.close()

    def after_fork_in_child(self) -> None:
        """Keep the inherited connections and use new ones: closing the old ones would send on the parent's sockets."""
        self._inherited += renew_pools(self._session)

    def _prepared(
        self, route: _Route, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> requests.PreparedRequest:
        """Return the request without the session's `auth` and cookies, and without `~/.netrc`."""
        # Method, path and headers were checked when they were made, so requests need not check them again.
        request = PlatformRequest(method, route.url + path, headers, body)
        if self._is_own:
            request.route, request.target = route, route.target + path
        else:
            self._add_what_the_session_has(request)
        return request

    def _add_what_the_session_has(self, request: requests.PreparedRequest) -> None:
        session = self._session
        theirs = {name: value for name, value in session.headers.items() if value is not None}
        request.prepare_headers({**theirs, **request.headers})
        request.prepare_cookies(NoCookies())
        request.prepare_hooks(session.hooks)
        if session.params:
            request.prepare_url(request.url, session.params)

    def _send(self, request: requests.PreparedRequest, options: dict[str, Any], exchange: HttpExchange) -> HttpAnswer:
        seconds = exchange.remaining()
        # Until our own adapter says otherwise.
        exchange.observed = False
        response = self._session.send(request, stream=True, timeout=seconds, allow_redirects=False, **options)
        try:
            exchange.stage = "body"
            return HttpAnswer(response.status_code, response.headers, self._content(response, exchange))
        except BaseException:
            # What is left of the answer would be taken for the next one's.
            response.close()
            raise

    def _content(self, response: requests.Response, exchange: HttpExchange) -> bytes:
        if exchange.observed and self._is_plain(response):
            whole: bytes = response.raw.read(decode_content=False)
            return whole
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(min(_CHUNK, self._max_answer_bytes + 1)):
            parts.append(part)
            size += len(part)
            if size > self._max_answer_bytes:
                raise self._too_large(response)
            if not exchange.observed:
                exchange.remaining()
        return b"".join(parts)

    def _is_plain(self, response: requests.Response) -> bool:
        """Return whether one read gives the body: its length is known and allowed, and nobody has begun to read it."""
        length = getattr(response.raw, "length_remaining", None)
        is_known = length is not None and 0 < length <= self._max_answer_bytes
        return is_known and "Content-Encoding" not in response.headers and response.raw.tell() == 0

    def _too_large(self, response: requests.Response) -> PlatformResponseError:
        return PlatformResponseError(
            f"{response.request.method} {response.url}: the answer has more than {self._max_answer_bytes} bytes; "
            "raise max_answer_bytes if such an answer is wanted",
            status_code=response.status_code,
        )

    def _looked_up_route(self) -> _Route:
        """Return the way to the platform, looked up once: it takes as long as half of a call."""
        if self._route is None:
            session, url = self._session, _normalised(self._base_url)
            found = session.merge_environment_settings(url, {}, None, session.verify, session.cert)
            proxy = requests.utils.select_proxy(url, found["proxies"])
            _check_bundle(url, found["verify"])
            _check_proxy(proxy)
            target = url if proxy and url.startswith("http:") else urlsplit(url).path
            self._route = _Route(url, target, {name: found[name] for name in ("proxies", "verify", "cert")})
        return self._route


def _normalised(base_url: str) -> str:
    """Return the URL as requests would send it."""
    request = requests.PreparedRequest()
    request.prepare_url(f"{base_url}/", None)
    return str(request.url).rstrip("/")


def _check_bundle(url: str, verify: object) -> None:
    if urlsplit(url).scheme == "https" and isinstance(verify, str) and not Path(verify).exists():
        raise ConfigurationError(f"there is no CA bundle at {verify!r} (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)")


def _check_proxy(proxy: str | None) -> None:
    try:
        parse_url(proxy or "")
    except LocationParseError:
        # Not even as the cause: its message shows what may be a part of a password.
        message = "the proxy's URL, which is not shown, cannot be read; escape what is special in user and password"
        raise ConfigurationError(f"{message} (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY)") from None
