"""The folder in which a local platform keeps what it needs after a restart."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from flow_client.local.errors import LocalPlatformError, SettingError

_SIGNING_KEY = "signing.key"


def signing_key_of(folder: str) -> str:
    """Return the key that signs the tokens of the platform that uses a folder, running or not.

    Raises:
        OSError: there is none, since no platform has used the folder.
    """
    return Path(folder, _SIGNING_KEY).read_text(encoding="ascii")


class Store:
    """A folder that one platform at a time uses: `folder`, or a new temporary one each time the store is opened."""

    def __init__(self, folder: Path | str | None) -> None:
        self._kept = None if folder is None else Path(folder).resolve()
        self._folder: Path | None = None
        self._lock: int | None = None

    @property
    def is_temporary(self) -> bool:
        """Whether the folder is removed when the store is closed."""
        return self._kept is None

    def open(self) -> Path:
        """Create the folder if it does not exist, lock it and return it.

        Raises:
            SettingError: the folder cannot be created or written to.
            LocalPlatformError: another platform uses it. JetStream itself would not notice.
        """
        self._folder = self._kept or Path(tempfile.mkdtemp(prefix="flow-local-"))
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingError(
                f"the store {self._folder} cannot be used: {error.strerror}; choose another folder"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise LocalPlatformError(
                f"the store {self._folder} is in use by another platform; choose another folder"
            ) from error
        return self._folder

    def close(self) -> None:
        """Unlock the folder, and remove it if it is temporary. Can be called twice."""
        if self._lock is not None:
            # Forked children share the lock. Closing the file would not release it while one of them is alive.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._release()
        if self._folder is not None and self.is_temporary:
            shutil.rmtree(self._folder)
        self._folder = None

    def signing_key(self) -> str:
        """Return the key that signs tokens. It is created once, so tokens stay valid after a restart."""
        if self._folder is None:
            raise LocalPlatformError("the store is not open")
        path = self._folder / _SIGNING_KEY
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
        return path.read_text(encoding="ascii")

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
