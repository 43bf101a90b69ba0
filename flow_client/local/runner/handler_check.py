"""Check that a manifest's handlers exist, in a separate process because importing a component runs its code."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from flow_client.local.errors import ManifestError
from flow_client.local.runner.worker_command import base_environment

if TYPE_CHECKING:
    from flow_client.local.manifest import Component, Manifest

_IMPORTS = "flow_client.local.runner.handler_import"
CHECK_TIMEOUT = 60.0
"""Seconds for importing all handlers."""


def check_handlers(manifest: Manifest) -> None:
    """Import all handlers of `manifest` in one new process.

    Raises:
        ManifestError: a handler cannot be imported, does not exist or cannot be called; the message names the line.
    """
    components = [component for component in manifest.components if component.handler]
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter and checked names
            [sys.executable, "-m", _IMPORTS, *(component.handler for component in components)],
            cwd=manifest.folder,
            env=base_environment(manifest.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ManifestError(
            f"{manifest.path}: importing the handlers took more than {CHECK_TIMEOUT:g} s; "
            "move slow work from the top level of their modules into the functions"
        ) from error
    problems: list[str | None] = [json.loads(line) for line in done.stdout.splitlines()]
    for component, problem in zip(components, problems, strict=False):
        if problem is not None:
            raise _error(manifest, component, problem)
    if len(problems) < len(components):
        said = done.stderr.decode(errors="replace").strip()
        ended = f"importing it ended the process with exit code {done.returncode}: {said}"
        raise _error(manifest, components[len(problems)], ended)


def _error(manifest: Manifest, component: Component, problem: str) -> ManifestError:
    return ManifestError(f"{manifest.path}:{component.line}: handler is {component.handler!r}: {problem}")
