"""How late this machine wakes a thread, beside which a call's own lateness is judged."""

import threading
import time

INTERVAL = 0.01
SHARE = 3
"""A call wakes a few threads, one after the other, before it is over."""


class Lateness:
    """Measures, as long as its block runs, how much later than asked a plain sleep ends.

    On a machine with nothing else to do that is a millisecond; on a busy one no call can do better.
    """

    def __init__(self):
        self._over = threading.Event()
        self._worst = 0.0
        self._thread = threading.Thread(target=self._measure, daemon=True)

    @property
    def excuse(self):
        """The seconds by which a call may be late for no fault of its own."""
        return SHARE * self._worst

    def _measure(self):
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(INTERVAL)
            self._worst = max(self._worst, time.monotonic() - began - INTERVAL)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
