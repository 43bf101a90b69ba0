"""Proxies in a thread: one cuts a connection after so many bytes, one makes tunnels."""

import selectors
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """After `after` bytes of the `request` or of the `response` the connection ends, with a `fin` or an `rst`."""

    direction: str
    after: int
    kind: str


class CuttingProxy:
    """Forwards TCP connections to a port; each takes the next of `cuts`, if there is one.

    `passed` counts the bytes of the last connection that was not cut.
    """

    def __init__(self, port):
        self.cuts = deque()
        self.passed = {}
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self):
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            cut = self.cuts.popleft() if self.cuts else None
            self._threads.append(threading.Thread(target=self._serve, args=(client, cut), daemon=True))
            self._threads[-1].start()

    def _serve(self, client, cut):
        with client, socket.create_connection(self._upstream) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._open(client)
                self._forward(client, server, cut)
            except OSError:
                pass  # One of the two went away.

    def _open(self, client):
        """Do what comes before the first byte is forwarded."""

    def _forward(self, client, server, cut):
        passed = {"request": 0, "response": 0}
        ways = {client: ("request", server), server: ("response", client)}
        with selectors.DefaultSelector() as ready:
            for each in ways:
                ready.register(each, selectors.EVENT_READ)
            while not self._stop.is_set():
                if cut is not None and passed[cut.direction] >= cut.after:
                    return _end(client, server, cut.kind)
                for key, _ in ready.select(0.05):
                    direction, target = ways[key.fileobj]
                    limit = cut.after - passed[direction] if cut is not None and cut.direction == direction else 65536
                    data = key.fileobj.recv(limit) if limit else b""
                    if not data:
                        self.passed = passed
                        return None
                    target.sendall(data)
                    passed[direction] += len(data)
        return None


class TunnelProxy(CuttingProxy):
    """Answers CONNECT and forwards to its port, whatever host was asked for."""

    def __init__(self, port):
        super().__init__(port)
        self.asked = []

    def _open(self, client):
        client.settimeout(10)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.asked.append(head)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")


def _end(client, server, kind):
    if kind == "rst":
        for each in (client, server):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    for each in (server, client):
        each.shutdown(socket.SHUT_WR)
    # Closed with bytes unread, a socket would send a reset: read until the client has closed.
    client.settimeout(5)
    while client.recv(65536):
        pass
