"""A WSGI application whose client was used before the server forked its workers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from answers import count_right, is_right

from flow_client import PlatformClient

if TYPE_CHECKING:
    from collections.abc import Callable

client = PlatformClient()
count_right(client, "warm", 3)


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    right = is_right(client, environ["PATH_INFO"].strip("/"))
    start_response("200 OK" if right else "500 Internal Server Error", [("Content-Type", "text/plain")])
    return [f"{os.getpid()}".encode()]
