"""A server without TLS that greets like NATS and writes down what it is told: it must not be told anything."""

import json
import socket
import threading

HOST = "127.0.0.1"


class ClearTextServer:
    """Sends INFO to whoever connects, and records every byte that comes back. A context manager.

    Args:
        info: further fields of INFO.
        port: where it listens; 0 for a free port.
    """

    def __init__(self, info=None, port=0):
        self.connections = 0
        self.received = b""
        self._open = []
        self._stopped = threading.Event()
        self._listener = socket.create_server((HOST, port))
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        defaults = {"server_id": "S", "version": "2.14.0", "proto": 1, "max_payload": 1 << 20, "headers": True}
        self._greeting = b"INFO " + json.dumps({**defaults, "auth_required": True, **(info or {})}).encode() + b"\r\n"

    def __enter__(self):
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self):
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._record, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _record(self, connection):
        with connection:
            connection.settimeout(0.05)
            connection.sendall(self._greeting)
            while not self._stopped.is_set():
                try:
                    data = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                self.received += data
