"""What a command says when an extra of the package is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Raise `ConfigurationError`, which names the extra, if an import in the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        told = (
            str(error)
            if "pip install" in str(error)
            else f"{error.name} is missing: pip install 'flow-client[{extra}]'"
        )
        raise ConfigurationError(told) from error
