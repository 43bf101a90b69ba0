"""Tokens that a file holds or a command prints. Both are asked at the start, and again when a token was refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flow_client._core.checks import shown
from flow_client._core.log import logger
from flow_client._core.secret import Secret
from flow_client.errors import ConfigurationError

COMMAND_TIMEOUT = 30.0
"""Seconds that a command has to print its token."""
_READABLE_BY_OTHERS = 0o004


_JWT = re.compile(r"eyJ[\w-]*\.[\w-]*\.[\w-]*")
_LONGEST_NAME = 255
"""Bytes that a file's name may have on usual file systems."""


def is_token(path: str) -> bool:
    """Return whether `path`, which should name a file, is what should be in it."""
    last = path.rpartition("/")[2]
    return len(last.encode()) > _LONGEST_NAME or _JWT.fullmatch(last.strip()) is not None


class TokenFile:
    """Reads a token from a file, anew each time it is called.

    Args:
        path: the file; a `~` at its start is the home folder.
        origin: which setting named it, for messages.

    Raises:
        ConfigurationError: `path` is the token itself.
    """

    def __init__(self, path: str, origin: str) -> None:
        if is_token(path):
            raise ConfigurationError(
                f"auth_token_file ({origin}) is the token itself, which is not shown; it must be the path of a file"
            )
        self.path: Path = Path(os.path.expanduser(path))  # noqa: PTH111 - it never raises
        self._origin = origin
        self._has_warned = False

    def __call__(self) -> Secret:
        """Return the token.

        Raises:
            ConfigurationError: the file cannot be read, or holds no token.
        """
        try:
            token = Secret(self.path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:  # a ValueError for bytes that are not text, and for a path with a NUL
            reason = getattr(error, "strerror", None) or "it is not a text file"
            raise ConfigurationError(
                f"the token file {self.path} ({self._origin}) cannot be read: {reason}"
            ) from None  # what is in the file may be a token, and the cause could show it
        if not token:
            raise ConfigurationError(f"the token file {self.path} ({self._origin}) is empty")
        if self.is_readable_by_others and not self._has_warned:
            self._has_warned = True
            logger.warning("every user of this machine can read the token file %s: chmod 600 it", self.path)
        return token

    @property
    def is_readable_by_others(self) -> bool:
        """Whether every user of the machine may read it."""
        return os.name == "posix" and bool(self.path.stat().st_mode & _READABLE_BY_OTHERS)


class TokenCommand:
    """Runs a command that prints a token, anew each time it is called. No shell is involved.

    Args:
        command: the command and its arguments; a string is split as a shell would.
        origin: which setting named it, for messages.

    Raises:
        ConfigurationError: the string cannot be split.
    """

    def __init__(self, command: str | list[str], origin: str) -> None:
        self._origin = origin
        self._command = _split(command, origin) if isinstance(command, str) else command

    def __call__(self) -> Secret:
        """Return the token.

        Raises:
            ConfigurationError: the command cannot be run, fails, takes too long or prints nothing.
        """
        token = Secret(self._output().strip())
        if not token:
            raise self._error("printed no token")
        return token

    def _output(self) -> str:
        import subprocess  # noqa: PLC0415 - most have no such command

        try:
            # It may say on standard error what is wrong, but it cannot ask: nobody may be there to answer.
            done = subprocess.run(  # noqa: S603 - the user's own command
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT, check=True
            )
            return done.stdout.decode()
        except subprocess.TimeoutExpired:
            raise self._error(f"printed no token within {COMMAND_TIMEOUT:g} s") from None
        except subprocess.CalledProcessError as error:
            raise self._error(f"failed with exit code {error.returncode}") from None
        except OSError as error:
            raise self._error(f"cannot be run: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self._error("printed something that is not text") from None
        except ValueError:
            raise self._error("cannot be run: it contains a NUL character") from None

    def _error(self, what: str) -> ConfigurationError:
        # Its arguments may be secret, and so may what it printed.
        return ConfigurationError(f"the token command {self._command[0]!r} ({self._origin}) {what}")


def _split(command: str, origin: str) -> list[str]:
    import shlex  # noqa: PLC0415 - as above

    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"the token command of {origin} cannot be read: {error}") from None
    if not parts:
        raise ConfigurationError(f"the token command of {origin} is {shown(command)}; it must name a program")
    return parts
