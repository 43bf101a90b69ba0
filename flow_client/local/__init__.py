"""A real small Flow platform on this machine, for development and tests."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_client.local.errors import LocalPlatformError, ManifestError, SettingError
    from flow_client.local.platform import LocalPlatform

__all__ = ["LocalPlatform", "LocalPlatformError", "ManifestError", "SettingError"]

_MODULES = dict.fromkeys(__all__, "errors") | {"LocalPlatform": "platform"}


_EXTRA = ("fastapi", "jwt", "uvicorn", *(("tomli",) if sys.version_info < (3, 11) else ()))


def _check_extra() -> None:
    # This runs on every way in: `python -m`, a service, an import of any module.
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"flow_client.local needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'flow-client[local]'",
            name=__name__,  # so that `python -m` prints only the message
        )


_check_extra()


if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> Any:
        # A service imports single modules of this package and should not have to load the rest.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
