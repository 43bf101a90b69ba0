"""Child processes that end with this one, however this one ends."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_client.local.errors import LocalPlatformError, SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = str(Path(__file__).with_name("guard.py"))
DEFAULT_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_KILL_MARGIN = 2.0
"""Seconds beyond the grace after which the guard itself is killed."""
LOG_TAIL_BYTES = 4096
"""How much of a log goes into an error message."""


class GuardedProcess:
    """A command that runs under `guard.py`, in its own process group.

    Args:
        command: the command and its arguments.
        log: the file to which standard error goes, and standard output unless the command announces something.
        env: the command's environment; None means that of this process.
        cwd: the command's working directory; None means that of this process.
        announces: whether the command's first line on standard output is a JSON object for `announcement()`.
        grace: seconds between SIGTERM and SIGKILL when the command is ended; 0 means SIGKILL at once.
        orphan_grace: the same for the case that this process has died.

    Raises:
        OSError: the guard cannot be started, or the log is not writable.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        announces: bool = False,
        grace: float = DEFAULT_GRACE,
        orphan_grace: float = DEFAULT_GRACE,
    ) -> None:
        self.command: tuple[str, ...] = tuple(command)
        self.log = log
        self._grace = grace
        with log.open("ab") as log_file:
            # In a new session, Ctrl-C in a terminal reaches only this process, which then ends its children in order.
            self._guard = subprocess.Popen(  # noqa: S603 - the command is the caller's
                [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), str(grace), str(orphan_grace), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if announces else log_file,
                stderr=log_file,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def guard_pid(self) -> int:
        """The process id of the guard. The command is its only child."""
        return self._guard.pid

    @property
    def running(self) -> bool:
        """Whether the command is still running."""
        return self._guard.poll() is None

    def announcement(self, timeout: float) -> dict[str, Any]:
        """Return the JSON object that the command prints when it is ready.

        Raises:
            SettingError: one of its settings is not usable.
            LocalPlatformError: it ended, or was not ready after `timeout` seconds. The message has its log's end.
        """
        line = self._first_line(time.monotonic() + timeout)
        if line is None:
            raise self.failure(f"was not ready after {timeout:g} s")
        if not line.endswith(b"\n"):
            raise self.failure(f"ended with exit code {self.wait()} before it was ready")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise SettingError(message["error"])
        return message

    def unexpected_end(self) -> LocalPlatformError | None:
        """Return an error if the command has ended, else None."""
        return None if self.running else self.failure(f"ended with exit code {self.wait()}")

    def failure(self, what: str) -> LocalPlatformError:
        """Return an error that says what the command did, with the end of its log."""
        name = Path(self.command[0]).name
        words = [name, *self.command[1:3]] if name.startswith("python") else [name]
        return LocalPlatformError(f"{' '.join(words)} {what}; the end of {self.log}:\n{tail(self.log)}")

    def terminate(self) -> None:
        """Ask the command to end, and kill it after its grace. Does not wait."""
        self._guard.terminate()

    def kill(self) -> None:
        """Kill the command and its process group at once. Does not wait."""
        self._guard.send_signal(signal.SIGQUIT)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, 128 + N for signal N. Raise `subprocess.TimeoutExpired` after `timeout` seconds."""
        code = self._guard.wait(timeout)
        self._close_pipes()
        return code if code >= 0 else 128 - code

    def stop(self) -> int:
        """End the command and return its exit code. Takes little longer than its grace at most."""
        self.terminate()
        # Waiting with a time limit would be polling, and notice the end up to 50 ms late.
        killing = threading.Timer(self._grace + _KILL_MARGIN, self._guard.kill)
        killing.daemon = True
        killing.start()
        try:
            return self.wait()
        finally:
            killing.cancel()

    def _first_line(self, deadline: float) -> bytes | None:
        stdout = self._guard.stdout
        if stdout is None:
            raise ValueError("the command has no announcement: it was started with announces=False")
        line = b""
        with selectors.DefaultSelector() as selector, stdout:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(stdout.fileno(), 65536)
                if not chunk:
                    break
                line += chunk
        return line

    def _close_pipes(self) -> None:
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def announce(message: Mapping[str, Any]) -> None:
    """Send `message` to the process that waits in `announcement()`. From then on standard output goes to the log."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def tail(path: Path, size: int = LOG_TAIL_BYTES) -> str:
    """Return the last `size` bytes of a file as text, from the beginning of a line if possible."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - size)
        file.seek(start)
        text = file.read().decode(errors="replace")
    return text.partition("\n")[2] or text if start else text
