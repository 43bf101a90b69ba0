"""The HTTP half against its targets, each figure beside its peer's, measured in the same run.

Run it with `make bench` or `python -m benchmarks.http_client`; it takes about half a minute.
"""

from __future__ import annotations

import os
import platform
import warnings
from importlib.metadata import version

from benchmarks import http_rows
from benchmarks.http_server import Server
from benchmarks.table import Row, show

PACKAGES = ("flow-client", "requests", "urllib3", "httpx", "pydantic", "tenacity")


def rows(url: str) -> list[Row]:
    return [
        *http_rows.calls(url),
        *http_rows.imports(),
        *http_rows.threads(url),
        *http_rows.schedule(),
        *http_rows.lateness(url),
        *http_rows.endurance(url),
    ]


def main() -> None:
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores, {len(os.environ)} environment variables")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    with warnings.catch_warnings(), Server() as server:
        warnings.simplefilter("error")
        show(rows(server.url))


if __name__ == "__main__":
    main()
