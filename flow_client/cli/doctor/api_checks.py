"""Checks of the way to the platform's API, and of what it answers."""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flow_client._api._generated import operations
from flow_client._core.deadline import Deadline
from flow_client._http.exchange import HttpExchange
from flow_client._http.failures import innermost
from flow_client._http.session import HttpSession
from flow_client.cli.doctor import token_checks
from flow_client.cli.doctor.finding import failed, ok, skipped
from flow_client.cli.doctor.token_checks import TokenChecks
from flow_client.errors import ConfigurationError, PlatformClientError, PlatformConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._http.session import HttpAnswer
    from flow_client.cli.doctor.finding import Finding
    from flow_client.cli.doctor.situation import Situation

TLS_NAMES = ("tls-chain", "tls-name", "tls-time")
ANSWER_NAMES = ("api-login", "api-answers", "api-holds", "clock")
NAMES = (*token_checks.NAMES, "proxy", "dns", *TLS_NAMES, "api-reachable", *ANSWER_NAMES)
REQUEST_SECONDS = 2.0
LONGEST_SKEW = 60.0
"""Seconds by which the clocks may differ: more, and a token seems expired or not valid yet."""
_ANSWER_BYTES = 1 << 20
_PORTS = {"http": 80, "https": 443}
_TIME_CODES = {9: "is not valid yet", 10: "has expired"}
"""OpenSSL's codes (x509_vfy.h) of certificates out of their time."""
_NAME_CODES = frozenset({62, 63, 64})
"""OpenSSL's codes of certificates for another host, e-mail or address."""
_OK, _SERVER_ERROR, _NOT_FOUND, _UNAUTHORISED, _FORBIDDEN, _REDIRECT = 200, 500, 404, 401, 403, 300


def check(situation: Situation, execution_id: str | None) -> Iterator[Finding]:
    """Yield what was found, the token first."""
    tokens = TokenChecks(situation)
    yield from tokens.check()
    if situation.base_url is None:
        yield from _skip(NAMES[len(token_checks.NAMES) :], "the settings come first")
        return
    yield from _Api(situation, situation.base_url, tokens, execution_id).check()


class _Api:
    def __init__(self, situation: Situation, base_url: str, tokens: TokenChecks, execution_id: str | None) -> None:
        self._situation = situation
        self._url = base_url
        self._token = tokens.token
        self._execution_id = execution_id

    def check(self) -> Iterator[Finding]:
        session = HttpSession(self._url, _ANSWER_BYTES)
        try:
            yield from self._on_the_way(session)
        finally:
            session.close()

    def _on_the_way(self, session: HttpSession) -> Iterator[Finding]:
        try:
            proxy = session.proxy()
        except ConfigurationError as error:
            yield from self._not_configured(error)
            return
        finding = _proxy(proxy)
        yield finding
        if finding.status == "failed":
            yield from _skip(("dns", *TLS_NAMES, "api-reachable", *ANSWER_NAMES), "the proxy comes first")
            return
        finding = _dns(proxy or self._url)
        yield finding
        if finding.status == "failed":
            yield from _skip((*TLS_NAMES, "api-reachable", *ANSWER_NAMES), "the host has no address")
            return
        yield from self._ask(session)

    def _not_configured(self, error: ConfigurationError) -> Iterator[Finding]:
        is_bundle = "CA bundle" in str(error)
        name = "tls-chain" if is_bundle else "proxy"
        variables = "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE" if is_bundle else "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
        yield failed(name, str(error), f"set or unset {variables}")
        others = [each for each in ("proxy", "dns", *TLS_NAMES, "api-reachable", *ANSWER_NAMES) if each != name]
        yield from _skip(others, f"{name} comes first")

    def _ask(self, session: HttpSession) -> Iterator[Finding]:
        started = time.monotonic()
        try:
            answer = self._answer(session)
        except PlatformClientError as error:
            yield from self._no_answer(error)
            return
        took = time.monotonic() - started
        yield from self._tls_is_fine()
        yield ok("api-reachable", f"{self._url} answers after {1000 * took:.0f} ms")
        yield self._login(answer)
        yield self._answers(answer)
        yield self._holds(answer)
        yield _clock(answer)

    def _answer(self, session: HttpSession) -> HttpAnswer:
        ids: dict[str, object] = {
            "org_id": self._situation.org_id or "none",
            "workspace_id": self._situation.workspace_id or "none",
            "execution_id": self._execution_id or str(uuid.uuid4()),
        }
        headers = {"Accept": "application/json", "Prefer": "wait=1"}
        if self._token is not None:
            headers["Authorization"] = self._token.as_header("Bearer ")
        path = operations.GET_EXECUTION_STATUS.url_path(ids)
        return session.exchange("GET", path, headers, None, HttpExchange(Deadline(REQUEST_SECONDS)))

    def _tls_is_fine(self) -> Iterator[Finding]:
        if not self._is_tls:
            yield from _skip(TLS_NAMES, "the URL is http://")
            return
        yield ok("tls-chain", "the certificate comes from an authority that is trusted here")
        yield ok("tls-name", "the certificate is for this host")
        yield ok("tls-time", "the certificate is valid now")

    def _no_answer(self, error: PlatformClientError) -> Iterator[Finding]:
        if isinstance(error, PlatformConnectionError) and error.stage == "tls":
            yield from _tls_failed(error)
            yield from _skip(("api-reachable", *ANSWER_NAMES), "TLS comes first")
            return
        yield from _skip(TLS_NAMES, "no answer came" if self._is_tls else "the URL is http://")
        yield failed("api-reachable", str(error), "is the platform running there, and does a firewall let you through?")
        yield from _skip(ANSWER_NAMES, "no answer came")

    @property
    def _is_tls(self) -> bool:
        return urlsplit(self._url).scheme == "https"

    def _login(self, answer: HttpAnswer) -> Finding:
        if self._token is None:
            return skipped("api-login", "there is no token")
        if answer.status == _UNAUTHORISED:
            return failed("api-login", f"the platform refuses the token: {_said(answer)}", "get a new token")
        if answer.status == _FORBIDDEN:
            cure = "ask for the permission, or check ORG_ID and WORKSPACE_ID"
            return failed("api-login", f"the token does not allow reading executions: {_said(answer)}", cure)
        if answer.status in (_OK, _NOT_FOUND):
            return ok("api-login", "the platform takes the token")
        return skipped("api-login", f"the platform answers {answer.status}")

    def _answers(self, answer: HttpAnswer) -> Finding:
        if answer.status >= _SERVER_ERROR:
            cure = "ask the platform's operators, or try again later"
            return failed("api-answers", f"the platform answers {answer.status}: {_said(answer)}", cure)
        if _REDIRECT <= answer.status < _REDIRECT + 100:
            place = answer.headers.get("Location", "elsewhere")
            return failed("api-answers", f"the platform redirects to {place}", "set PLATFORM_API_URL to what is meant")
        body = _json(answer)
        is_record = answer.status == _OK and isinstance(body, dict) and {"execution_id", "status"} <= body.keys()
        is_error = answer.status != _OK and isinstance(body, dict) and bool({"detail", "title"} & body.keys())
        if is_record or is_error:
            return ok("api-answers", "the answer is what the specification says")
        kind = answer.headers.get("Content-Type", "no type")
        message = f"the answer {answer.status} ({kind}) is not what the platform's specification says: {_said(answer)}"
        return failed("api-answers", message, "something else answers there: check PLATFORM_API_URL and the proxy")

    def _holds(self, answer: HttpAnswer) -> Finding:
        if self._execution_id is None:
            return skipped("api-holds", "only an execution shows it: give --execution ID")
        if answer.status != _OK:
            return skipped("api-holds", f"the platform answers {answer.status} for execution {self._execution_id}")
        if "wait" in answer.headers.get("Preference-Applied", ""):
            return ok("api-holds", "the platform holds requests: the end of an execution is noticed at once")
        return ok("api-holds", "the platform does not hold requests: waits ask now and then")


def _proxy(proxy: str | None) -> Finding:
    if proxy is None:
        return ok("proxy", "no proxy is on the way")
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    cure = "set HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the platform's host in NO_PROXY"
    if parts.scheme not in _PORTS:
        return failed("proxy", f"a proxy that speaks {parts.scheme} is not supported", f"use an HTTP proxy: {cure}")
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError as error:
        return failed(
            "proxy", f"the proxy {address[0]}:{address[1]} cannot be reached: {error.strerror or error}", cure
        )
    return ok("proxy", f"the proxy {address[0]}:{address[1]} can be reached")


def _dns(url: str) -> Finding:
    host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"{host} has no address: {getattr(error, 'strerror', None) or error}"
        return failed("dns", message, "check the spelling of the host, and the name servers of this machine")
    return ok("dns", f"{host} is {', '.join(sorted({str(address[4][0]) for address in found}))}")


def _tls_failed(error: PlatformConnectionError) -> Iterator[Finding]:
    cause = innermost(error.__cause__) if error.__cause__ is not None else error
    code = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else None
    if code in _TIME_CODES:
        yield from (skipped(name, "the time of the certificate comes first") for name in TLS_NAMES[:2])
        cure = "renew the server's certificate, or set this machine's clock"
        yield failed("tls-time", f"the certificate {_TIME_CODES[code]}", cure)
    elif code in _NAME_CODES:
        yield ok("tls-chain", "the certificate comes from an authority that is trusted here")
        message = getattr(cause, "verify_message", str(cause))
        yield failed("tls-name", f"the certificate is for another host: {message}", "use the name that it is for")
        yield ok("tls-time", "the certificate is valid now")
    else:
        yield failed(
            "tls-chain",
            f"no TLS connection: {getattr(cause, 'verify_message', '') or cause}",
            "name the file of your own authority in REQUESTS_CA_BUNDLE; if there is no TLS at all, use http://",
        )
        yield from _skip(TLS_NAMES[1:], "the chain comes first")


def _clock(answer: HttpAnswer) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return skipped("clock", "the answer does not say what time it is there")
    skew = time.time() - theirs
    if abs(skew) <= LONGEST_SKEW:
        return ok("clock", "this clock and the platform's agree")
    direction = "ahead of" if skew > 0 else "behind"
    message = f"this clock is {abs(skew):.0f} s {direction} the platform's: tokens seem expired or not valid yet"
    return failed("clock", message, "set the clock of this machine, for example with NTP")


def _json(answer: HttpAnswer) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def _said(answer: HttpAnswer) -> str:
    body = _json(answer)
    detail = body.get("detail", body.get("title")) if isinstance(body, dict) else None
    text = str(detail) if detail is not None else answer.content.decode(errors="replace")
    return " ".join(text.split())[:200]


def _skip(names: Any, why: str) -> Iterator[Finding]:
    return (skipped(name, why) for name in names)
