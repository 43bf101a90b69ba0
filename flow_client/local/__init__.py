"""A real small Flow platform on this machine, for development and tests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_client.local.errors import LocalPlatformError, ManifestError, SettingError
    from flow_client.local.platform import LocalPlatform

__all__ = ["LocalPlatform", "LocalPlatformError", "ManifestError", "SettingError"]

_MODULES = dict.fromkeys(__all__, "errors") | {"LocalPlatform": "platform"}


def __getattr__(name: str) -> Any:
    # Workers and services import modules of this package and should not pay for the rest of it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
