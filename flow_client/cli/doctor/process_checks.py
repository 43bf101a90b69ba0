"""Checks of the process itself: what its server, its packages and its patches have made of it."""

from __future__ import annotations

import _thread
import re
import sys
import threading
from importlib import metadata
from typing import TYPE_CHECKING

from flow_client.cli.doctor.finding import failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client.cli.doctor.finding import Finding

THREAD_START = 1.0
"""Seconds that a new thread has for its first step."""
_OWN_THREADS = "flow-client"
_REPLACES_URLLIB3 = ("niquests", "urllib3-future")


def check() -> Iterator[Finding]:
    """Yield what was found."""
    fork = _fork()  # before there is a thread of our own
    yield _threads()
    yield _gevent()
    yield fork
    yield _dependencies()


def _threads() -> Finding:
    """Waits and futures need a thread in the background; a server may have switched them off."""
    has_run = threading.Event()
    cure = "start uWSGI with --enable-threads" if "uwsgi" in sys.modules else "raise the limits of this process"
    try:
        _thread.start_new_thread(has_run.set, ())
    except RuntimeError as error:
        return failed("threads", f"no thread can be started: {error}", cure)
    if not has_run.wait(THREAD_START):
        return failed("threads", f"a new thread does not run within {THREAD_START:g} s", cure)
    return ok("threads", "a thread in the background runs")


def _gevent() -> Finding:
    """What was imported before gevent patched it holds the originals, and blocks every greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return ok("gevent", "gevent has patched nothing here")
    tls = sys.modules.get("urllib3.util.ssl_")
    if tls is None or "ssl" not in sys.modules or tls.SSLContext is sys.modules["ssl"].SSLContext:
        return ok("gevent", "gevent has patched the standard library before it was used")
    return failed(
        "gevent",
        "gevent has patched ssl after urllib3 was imported: TLS connections fail or block every greenlet",
        "call gevent.monkey.patch_all() before anything else is imported",
    )


def _fork() -> Finding:
    """A forked child has the locks of its parent's threads, and not the threads."""
    others = [thread.name for thread in threading.enumerate() if not thread.name.startswith(_OWN_THREADS)]
    multiprocessing = sys.modules.get("multiprocessing")
    # It is settled when the first process, pool or queue is made.
    method = None if multiprocessing is None else multiprocessing.get_start_method(allow_none=True)
    if method is None:
        return ok("fork", "multiprocessing is not used here")
    if method != "fork" or len(others) <= 1:
        return ok("fork", f"multiprocessing starts processes by {method}; threads: {len(others)}")
    return warning(
        "fork",
        f"multiprocessing forks this process, which has {len(others)} threads: a child may wait for ever for a lock",
        "multiprocessing.set_start_method('forkserver') or 'spawn'; the client itself is safe to fork",
    )


def _dependencies() -> Finding:
    for name in _REPLACES_URLLIB3:
        if _version(name) is not None:
            return failed(
                "dependencies", f"{name} is installed and takes the place of urllib3", f"pip uninstall {name}"
            )
    try:
        requirements = metadata.requires("flow-client") or []
    except metadata.PackageNotFoundError:
        return ok("dependencies", "flow-client is not installed as a package: nothing is known of its dependencies")
    wrong = [text for text in map(_problem, requirements) if text]
    if wrong:
        return failed("dependencies", "; ".join(wrong), "pip install --upgrade flow-client")
    shown = ", ".join(f"{name} {_version(name)}" for name in ("requests", "urllib3", "pydantic", "tenacity", "nats-py"))
    return ok("dependencies", shown)


def _problem(requirement: str) -> str | None:
    """Return what is wrong with one of the package's requirements; extras and other Pythons' are left alone."""
    text, _, marker = requirement.partition(";")
    name = re.match(r"[\w.-]+", text)
    if name is None or marker.strip():
        return None
    version = _version(name[0])
    if version is None:
        return f"{name[0]} is not installed"
    for operator, limit in re.findall(r"(>=|<)\s*([\w.]+)", text):
        if (_numbers(version) >= _numbers(limit)) != (operator == ">="):
            return f"{name[0]} is {version}; it must be {operator} {limit}"
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
