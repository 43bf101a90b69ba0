"""What is said to code that takes this client for an async one."""

from __future__ import annotations

import inspect


def not_async(remedy: str) -> TypeError:
    """Return the error for syntax that only an async client has; `remedy` says what to write instead."""
    return TypeError(f"PlatformClient is synchronous: {remedy} (docs/porting.md)")


def is_async(function: object) -> bool:
    """Return whether calling `function` would give a coroutine, which nobody would ever run."""
    return any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None))))  # noqa: B004
