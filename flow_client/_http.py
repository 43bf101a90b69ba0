"""One HTTP exchange over requests, with every failure told in our own errors. The only file that imports requests.

The requests are prepared by hand and go to the adapter at once. What a `requests.Session` would add is what must not
happen here: `~/.netrc` in place of the token, redirects, cookies, and a look through the environment at every call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors

from flow_client import _sockets
from flow_client._fork import renew_after_fork
from flow_client.errors import PlatformConnectionError, PlatformResponseError, PlatformTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flow_client._deadline import Deadline

POOL_SIZE = 64

_FAILURES = (requests.RequestException, urllib3_errors.HTTPError, OSError)
_TLS_FAILURES = (requests.exceptions.SSLError, urllib3_errors.SSLError)
_BROKEN_BODY = (requests.exceptions.ContentDecodingError, urllib3_errors.DecodeError)


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: the status, the headers without regard to case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class _BoundedAdapter(HTTPAdapter):
    """An adapter whose connections keep to the deadline of the exchange."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _sockets.POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _sockets.POOL_CLASSES
        return manager


class HttpSession:
    """Connections to the platform, shared by threads and renewed in a forked child."""

    def __init__(self, max_answer_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._adapter = _new_adapter()
        self._inherited: list[HTTPAdapter] = []
        self._environment: dict[str, dict[str, Any]] = {}
        renew_after_fork(self)

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> HttpAnswer:
        """Send one request and return its answer, whatever its status.

        Raises:
            PlatformTimeoutError: `deadline` passed, at the `stage` that the error names.
            PlatformConnectionError: no whole answer came; `request_sent` says whether the request may have arrived.
            PlatformResponseError: the answer is too large, or its content encoding is broken.
        """
        request = requests.PreparedRequest()
        request.prepare(method=method, url=url, headers=headers, data=body)
        exchange = _sockets.Exchange(deadline)
        token = _sockets.current.set(exchange)
        try:
            return self._send(request, exchange)
        except _BROKEN_BODY as error:
            raise PlatformResponseError(f"{method} {url}: the answer's content encoding is broken: {error}") from error
        except _FAILURES as error:
            raise _failure(f"{method} {url}", exchange, error) from error
        finally:
            _sockets.current.reset(token)

    def refresh_environment(self) -> None:
        """Look up proxies and CA bundles in the environment anew."""
        self._environment.clear()

    def close(self) -> None:
        """Close the connections that are idle; one in use is closed when its answer has been read."""
        self._adapter.close()

    def after_fork_in_child(self) -> None:
        """Leave the inherited connections alone: closing them would speak on the parent's sockets."""
        self._inherited.append(self._adapter)
        self._adapter = _new_adapter()

    def _send(self, request: requests.PreparedRequest, exchange: _sockets.Exchange) -> HttpAnswer:
        response = self._adapter.send(
            request,
            stream=True,
            timeout=max(exchange.remaining(), 0.001),
            **self._settings_for(str(request.url)),
        )
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
            self._environment[origin] = settings
        return settings


def _new_adapter() -> HTTPAdapter:
    return _BoundedAdapter(pool_connections=8, pool_maxsize=POOL_SIZE, max_retries=0)


def _failure(place: str, exchange: _sockets.Exchange, error: Exception) -> PlatformConnectionError:
    """Tell what `error` means; what cannot be told counts as sent."""
    sent = "may have been received" if exchange.request_sent else "was not sent"
    if exchange.deadline.remaining() <= 0:
        return PlatformTimeoutError(
            f"{place}: the deadline of {exchange.deadline.seconds:g} s passed at the stage {exchange.stage!r}; "
            f"the request {sent}",
            request_sent=exchange.request_sent,
            stage=exchange.stage,
        )
    stage = "tls" if isinstance(error, _TLS_FAILURES) else exchange.stage
    return PlatformConnectionError(
        f"{place}: failed at the stage {stage!r}: {_cause(error)}; the request {sent}",
        request_sent=exchange.request_sent,
        stage=stage,
    )


def _cause(error: BaseException) -> str:
    """Return the innermost reason, without the connection object that urllib3 puts before it."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", inner)
    if isinstance(reason, BaseException):
        return _cause(reason)
    return re.sub(r"^\w+\(host=.*?\): ", "", str(error))
