"""Where NATS is, and who we are there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = ("nats", "tls")


@dataclass(frozen=True)
class Servers:
    """The servers of a cluster without credentials, and the credentials for all of them."""

    urls: tuple[str, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return ",".join(self.urls)


def resolve_servers(nats_url: str | None, environ: Mapping[str, str] | None = None) -> Servers:
    """Return the servers of `nats_url`, else of the variable `NATS_URL`, separated by commas.

    The first credentials that stand in a URL are used for all servers, those that a cluster makes known later too.

    Raises:
        ConfigurationError: there is no URL, or one is unusable. The message does not repeat it: it may hold a password.
    """
    value = nats_url or (os.environ if environ is None else environ).get("NATS_URL")
    if not value:
        raise ConfigurationError("nats_url is missing: pass nats_url=… or set NATS_URL")
    parts = [_split(url) for url in value.split(",") if url.strip()]
    credentials = next((part for part in parts if part and part.username), None)
    urls = tuple(_address(part) for part in parts if part)
    if not urls or len(urls) < len(parts):
        raise ConfigurationError(
            "nats_url is unusable: it must be like nats://nats.example.com:4222, several separated by commas "
            "(argument nats_url, variable NATS_URL)"
        )
    return Servers(urls, **_login(credentials))


def _split(url: str) -> SplitResult | None:
    """Return the parts of `url`, None if it is unusable."""
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _address(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 4222}"


def _login(parts: SplitResult | None) -> dict[str, str]:
    if parts is None or parts.username is None:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}
