"""Import handlers and say what is wrong with each: one JSON text per line.

It imports little itself, because every start of a platform waits for it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


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
