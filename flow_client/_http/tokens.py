"""The bearer token: kept hidden, renewed by the platform or by the caller's function."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from flow_client._core.lifecycle import renew_after_fork
from flow_client._core.log import logger
from flow_client._core.tracebacks import interruption
from flow_client.config import check_token, hidden
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._core.secret import Secret


class TokenStore:
    """The token that the next request carries. Threads may share it."""

    def __init__(self, source: str | Callable[[], str], on_refresh: Callable[[str], object] | None = None) -> None:
        """Take the token, or ask `source` for the first one."""
        self._source = source if callable(source) else None
        self._on_refresh = on_refresh
        self._lock = threading.RLock()
        self._asking = False
        self._token = check_token(hidden(source() if callable(source) else source))
        renew_after_fork(self)

    def current(self) -> Secret:
        """Return the token of the next request."""
        return self._token

    def replace(self, token: Secret) -> None:
        """Use `token`, which the platform sent, from now on, and tell the caller's callback about it.

        One that cannot be used is left alone: the request that it came with has succeeded.
        """
        try:
            check_token(token)
        except ConfigurationError:
            logger.warning("the platform sent a renewed token that cannot stand in a header; the old one stays in use")
            return
        with self._lock:
            if token == self._token:
                return
            self._token = token
        if self._on_refresh is None:
            return
        handled_before = sys.exc_info()[1]
        try:
            self._on_refresh(token.reveal())
        except Exception as error:
            # Whatever the callback itself raises, the request has succeeded.
            if interruption(error, handled_before):
                raise
            logger.exception("on_auth_token_refresh raised; the renewed token is in use all the same")

    def refresh(self, refused: Secret) -> bool:
        """Get another token after `refused` was answered with 401; return whether it is worth trying again.

        One thread asks the caller's function, the others wait and use what it returned.
        """
        with self._lock:
            if self._token != refused:
                return True
            if self._source is None or self._asking:
                return False
            self._asking = True
            try:
                self._token = check_token(hidden(self._source()))
            finally:
                self._asking = False
            return True

    def after_fork_in_child(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.RLock()
        self._asking = False
