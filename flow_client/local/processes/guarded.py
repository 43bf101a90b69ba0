"""Child processes that end with this one, whatever ends it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_client.local.errors import LocalPlatformError, SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = str(Path(__file__).with_name("guard.py"))
DEFAULT_GRACE = 5.0
_KILL_MARGIN = 2.0
LOG_TAIL_BYTES = 4096


class GuardedProcess:
    """A command that runs under `guard.py`, in a process group of its own.

    Standard error goes to `log`, standard output too unless `announces`: then the command's first line on it is
    a JSON object, read by `announcement()`. `grace` are the seconds between SIGTERM and SIGKILL when it is ended,
    `orphan_grace` the same when this process died; 0 is SIGKILL at once.

    Raises:
        OSError: the guard cannot be started or the log cannot be written.
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
        self.command = tuple(command)
        self.log = log
        self._grace = grace
        with log.open("ab") as log_file:
            # A new session: Ctrl-C in a terminal reaches this process only, which then ends its children in order.
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
        """The process id of the guard; the command is its only child."""
        return self._guard.pid

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return self._guard.poll() is None

    def announcement(self, timeout: float) -> dict[str, Any]:
        """Return the JSON object that the command prints when it is ready.

        Raises:
            SettingError: it cannot use its settings.
            LocalPlatformError: it ended or said nothing for `timeout` seconds; the message has its log's tail.
        """
        line = self._first_line(time.monotonic() + timeout)
        if line is None:
            raise self.failure(f"said nothing for {timeout:g} s")
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
        """Return an error that says what the command did, with the tail of its log."""
        name = Path(self.command[0]).name
        words = [name, *self.command[1:3]] if name.startswith("python") else [name]
        return LocalPlatformError(f"{' '.join(words)} {what}; the end of {self.log}:\n{tail(self.log)}")

    def terminate(self) -> None:
        """Ask the command to end, and kill it after the grace. Does not wait."""
        self._guard.terminate()

    def kill(self) -> None:
        """Kill the command and its whole group at once. Does not wait."""
        self._guard.send_signal(signal.SIGQUIT)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, 128 + N for signal N; raise `subprocess.TimeoutExpired` after `timeout` seconds."""
        code = self._guard.wait(timeout)
        self._close_pipes()
        return code if code >= 0 else 128 - code

    def stop(self) -> int:
        """End the command, in at most its grace and a little, and return its exit code."""
        self.terminate()
        try:
            return self.wait(self._grace + _KILL_MARGIN)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            return self.wait()

    def _first_line(self, deadline: float) -> bytes | None:
        stdout = self._guard.stdout
        if stdout is None:
            raise ValueError("only a command that was started with announces=True has an announcement")
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
    """Print `message` for the process that waits in `announcement()`; standard output is the log from then on."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def tail(path: Path, size: int = LOG_TAIL_BYTES) -> str:
    """Return the last `size` bytes of the file at `path` as text, from a line's start if there is one."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - size)
        file.seek(start)
        text = file.read().decode(errors="replace")
    return text.partition("\n")[2] or text if start else text
