"""Checks of the port and of the NATS server before the platform starts anything."""

from __future__ import annotations

import contextlib
import socket
import sys
from urllib.parse import urlsplit

from flow_client._nats.servers import resolve_servers
from flow_client.errors import ConfigurationError
from flow_client.local.errors import SettingError

_CONNECT_TIMEOUT = 5.0
_NATS_PORT = 4222


# With it a socket that does not listen lets a server listen on its port. Elsewhere another option does that.
_SHARED = socket.SO_REUSEADDR if sys.platform == "linux" else socket.SO_REUSEPORT


def reserve_port(host: str, port: int = 0) -> socket.socket:
    """Return a socket that keeps the port, 0 for any free one, until a server of ours listens on it; then close it.

    Raises:
        SettingError: no server can listen on the port.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, _SHARED, 1)
    try:
        reservation.bind((host, port))
    except OSError as error:
        reservation.close()
        raise SettingError(
            f"port {port} on {host} cannot be used: {error.strerror}; choose another one, or 0 for any free port"
        ) from error
    return reservation


def check_nats_answers(url: str) -> None:
    """Raise `SettingError` unless one of the comma-separated servers at `url` accepts a connection."""
    try:
        servers = resolve_servers(url)
    except ConfigurationError as error:
        raise SettingError(str(error)) from error
    if not any(_accepts(address) for address in servers.urls):
        raise SettingError(
            f"no NATS server answers at {servers}; start one, or omit nats_url so that the platform starts one"
        )


def _accepts(url: str) -> bool:
    address = urlsplit(url)
    with contextlib.suppress(OSError):
        socket.create_connection((address.hostname, address.port or _NATS_PORT), _CONNECT_TIMEOUT).close()
        return True
    return False
