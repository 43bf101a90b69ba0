"""A real terminal, read from its other side."""

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from contextlib import suppress


class Terminal:
    """A pseudo-terminal of 24 lines with 100 columns: `stream` writes to it, `text` is what came out so far."""

    def __init__(self):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self):
        return self._written.decode(errors="replace")

    def shows(self, text, seconds=20.0):
        """Wait until `text` stands on the terminal; return whether it does."""
        deadline = time.monotonic() + seconds
        while text not in self.text and time.monotonic() < deadline:
            time.sleep(0.02)
        return text in self.text

    def end(self):
        """Close it and return all that was written."""
        self.stream.close()
        self._reader.join()
        with suppress(OSError):
            os.close(self._ours)
        return self.text

    def _read(self):
        with suppress(OSError):  # how a terminal says that nobody writes any more
            while written := os.read(self._ours, 4096):
                self._written += written
