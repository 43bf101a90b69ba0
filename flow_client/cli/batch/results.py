"""The file of results. What is in it is whole lines in the order of the inputs, whenever the process is killed."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

SCHEMA = "flow-client/mapped/1"
_RETRY_SUFFIX = ".retry"


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier run has written about an input."""

    status: str
    key: str
    digest: str


class ResultsFile:
    """Results that are appended to a file.

    Results of earlier runs stay as they are. If some of them are to be replaced, all are written to a second file,
    which takes the place of the first when it is complete: until then the first has what it had.

    Args:
        path: the file.
        retry_failed: whether results that are not `completed` are to be replaced.

    Raises:
        InvalidRequestError: another process writes to the file, or it holds something else.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, *, retry_failed: bool) -> None:
        self._path = Path(path)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self._file, path)
            self.kept: list[Kept] = self._read_kept()
        except BaseException:
            os.close(self._file)
            raise
        self._is_replaced = retry_failed and any(kept.status != "completed" for kept in self.kept)
        self._old = self._path.open("rb")
        self._old_position = 0
        self._target = self._open_target()

    def is_wanted(self, position: int) -> bool:
        """Return whether a result of this input is to be written."""
        return position >= len(self.kept) or (self._is_replaced and self.kept[position].status != "completed")

    def write(self, position: int, line: str) -> None:
        """Write the next input's result."""
        self._copy_until(position)
        self._old_position = position + 1
        if position < len(self.kept):
            self._old.readline()
        _write(self._target, f"{line}\n".encode())

    def complete(self) -> None:
        """Have the results take their place: every input has one."""
        self._copy_until(len(self.kept))
        if self._is_replaced:
            os.fsync(self._target)
            self._retry_path.replace(self._path)
            self._is_replaced = False  # from now on a second file is another process's

    def _copy_until(self, position: int) -> None:
        if self._is_replaced:
            while self._old_position < min(position, len(self.kept)):
                _write(self._target, self._old.readline())
                self._old_position += 1

    def _open_target(self) -> int:
        with suppress(FileNotFoundError):  # of a run that was killed
            self._retry_path.unlink()
        if not self._is_replaced:
            os.lseek(self._file, 0, os.SEEK_END)
            return self._file
        return os.open(self._retry_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    @property
    def _retry_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}{_RETRY_SUFFIX}")

    def _read_kept(self) -> list[Kept]:
        """Return what the file has, without a last line that was being written when the process was killed."""
        kept: list[Kept] = []
        end = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                kept.append(self._parsed(line, len(kept)))
                end += len(line)
        os.ftruncate(self._file, end)
        return kept

    def _parsed(self, line: bytes, position: int) -> Kept:
        try:
            fields = json.loads(line)
            if fields["$schema"] != SCHEMA or fields["position"] != position:
                raise KeyError("position")  # noqa: TRY301 - the same as if it had none
            # A million of them may be there, and most have the same status and key.
            return Kept(sys.intern(fields["status"]), sys.intern(fields["key"]), fields["digest"])
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequestError(
                f"line {position + 1} of {self._path} is not the result of input {position}: "
                "the file was not written by this command, or was changed since; name another one with --out"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._old.close()
        if self._target != self._file:
            os.close(self._target)
        if self._is_replaced:
            with suppress(FileNotFoundError):
                self._retry_path.unlink()
        os.close(self._file)


class ResultsStream:
    """Results that are printed: nothing is known of earlier runs."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self.kept: list[Kept] = []

    def is_wanted(self, position: int) -> bool:  # noqa: ARG002 - as above
        """Return whether a result of this input is to be written."""
        return True

    def write(self, position: int, line: str) -> None:  # noqa: ARG002 - as above
        """Print the next input's result."""
        self._output.line(line)

    def complete(self) -> None:
        """Have the results take their place."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the stream open."""


def _lock(file: int, path: str) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidRequestError(f"another process is writing to {path}") from error


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
