"""What is mounted in our own `requests.Session`, and what that session leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

from flow_client._http.connections import bound_connections
from flow_client._http.exchange import current
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POOL_SIZE = 64
"""How many idle connections are kept for each host: more threads than that rarely share a client."""


class PlatformRequest(requests.PreparedRequest):
    """A request that is ready to be sent as it is.

    Attributes:
        route: stands for the way to the platform; None if requests has to find it.
        target: the target in the request's first line; None if requests has to find it.
    """

    route: object = None
    target: str | None = None

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        super().__init__()
        self.method, self.url, self.body = method, url, body
        fields: CaseInsensitiveDict[str] = CaseInsensitiveDict()
        for name, value in headers.items():
            fields[name] = value
        if method != "GET":
            fields["Content-Length"] = str(len(body or b""))
        self.headers = fields


class BoundedAdapter(HTTPAdapter):
    """An adapter whose connections keep to the deadline of the exchange and note how far it has come."""

    def __init__(self) -> None:
        super().__init__(pool_connections=8, pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        bound_connections(self.poolmanager)
        self._pools: dict[object, Any] = {}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Look the pool up once for each route.

        urllib3 takes a lock to look one up. A signal handler that waits for a future while its thread holds that lock
        would wait for ever: the future's thread needs it too. It also parses the URL and looks for the CA bundle.
        """
        current.get().observed = True
        route = getattr(request, "route", None)
        pool = self._pools.get(route)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            # Requests without a route, which a tool has copied, may go anywhere.
            self._pools = {route: pool} if route is not None else {}
        return pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return the target in the request's first line: the path, or the whole URL for a proxy."""
        target: str | None = getattr(request, "target", None)
        return super().request_url(request, proxies) if target is None else target

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Return the response as requests builds it, but without looking for cookies, which nobody takes."""
        response = requests.Response()
        response.status_code, response.reason, response.raw = resp.status, resp.reason, resp
        response.headers = CaseInsensitiveDict(resp.headers)
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.url, response.request, response.connection = str(req.url), req, self
        return response

    def close(self) -> None:
        """Close the connections that are idle."""
        self._pools = {}
        super().close()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise ConfigurationError("SOCKS proxies are not supported; use an HTTP proxy or add the host to NO_PROXY")
        manager = super().proxy_manager_for(proxy, **kwargs)
        bound_connections(manager)
        return manager


class NoCookies(RequestsCookieJar):
    """A jar that takes no cookie and gives none. It has no use for its lock, which an interrupt could leave held."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave the answer's cookies alone."""

    def add_cookie_header(self, request: Any) -> None:
        """Leave the request as it is."""


class PlatformSession(requests.Session):
    """A session that only sends: nothing is followed, kept from an answer or added to a request."""

    def __init__(self) -> None:
        super().__init__()
        self.headers.clear()
        self.cookies = NoCookies()
        adapter = BoundedAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def resolve_redirects(self, *_arguments: Any, **_options: Any) -> Iterator[requests.Response]:
        """Follow none: a redirected POST would become a GET, and the token would go to another host."""
        return iter(())


def renew_pools(session: requests.Session) -> list[object]:
    """Give the session's adapters new connections; return the old ones.

    The adapters stay, with whatever a subclass keeps in them: they are restored from their own state, as by pickle.
    """
    adapters = {each for each in session.adapters.values() if isinstance(each, HTTPAdapter)}
    old: list[object] = [(each.poolmanager, each.proxy_manager) for each in adapters]
    for each in adapters:
        each.__setstate__(each.__getstate__())  # type: ignore[attr-defined]
    return old
