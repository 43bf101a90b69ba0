"""Check that a manifest's handlers exist, in a separate process because importing a component runs its code."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from flow_client.local.errors import ManifestError
from flow_client.local.runner.worker_command import base_environment

if TYPE_CHECKING:
    from flow_client.local.manifest import Component, Manifest

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
            [sys.executable, "-m", __name__, *(component.handler for component in components)],
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


def problem_with(handler: str) -> str | None:
    """Return what is wrong with `module:function`; None if it can be called."""
    module_name, _, path = handler.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except BaseException as error:  # noqa: BLE001 - a module that exits when it is imported is as wrong as one that raises
        return f"importing {module_name} raised {type(error).__name__}: {error}"
    for name in path.split("."):
        if not hasattr(found, name):
            return f"{module_name} has no {path!r}; define it or correct the name"
        found = getattr(found, name)
    return None if callable(found) else f"{path!r} in {module_name} has type {type(found).__name__}, not a function"


def _main(handlers: list[str]) -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as report:
        os.dup2(2, 1)  # so that what components print does not end up in the report
        for handler in handlers:
            report.write(json.dumps(problem_with(handler)) + "\n")
            report.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
