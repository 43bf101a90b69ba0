"""Real servers that misbehave, each on a free port: raw sockets in threads, all closed at the end."""

import gzip
import json
import socket
import threading

DONE = json.dumps({"execution_id": "e-1", "status": "completed"}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(head=OK, body=DONE):
    """Return a whole answer with its length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces):
    """Return a whole answer in chunks."""
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, (*pieces, b"")))


def chunk(piece):
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class RawServer:
    """Answers each request with the pieces that `pieces(n)` gives for request number n, `pace` seconds apart.

    A piece that is None closes the connection. `context` speaks TLS.
    """

    def __init__(self, pieces, pace=0.0, context=None):
        self.connections = 0
        self.requests = []
        self._pieces, self._pace, self._context = pieces, pace, context
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # A thread that waits in accept() is not woken by close(): it looks up now and then.
        self._listener.settimeout(0.05)

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def url(self):
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection):
        connection.settimeout(0.05)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with self._wrapped(connection) as stream:
                while request := self._request(stream):
                    if not self._answer(stream, request):
                        return
        except OSError:
            pass  # The client went away, which is what many a test is about.

    def _wrapped(self, connection):
        if self._context is None:
            return connection
        connection.settimeout(10)
        wrapped = self._context.wrap_socket(connection, server_side=True)
        wrapped.settimeout(0.05)
        return wrapped

    def _request(self, stream):
        """Return a request's bytes; nothing once the client or the server is through."""
        data = b""
        while not _is_whole(data):
            try:
                piece = stream.recv(65536)
            except TimeoutError:
                piece = b"" if self._stop.is_set() else None
            if piece == b"":
                return b""
            data += piece or b""
        return data

    def _answer(self, stream, request):
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        for piece in self._pieces(number):
            if piece is None:
                return False
            stream.settimeout(10)
            stream.sendall(piece)
            stream.settimeout(0.05)
            if self._stop.wait(self._pace):
                return False
        return True


def _is_whole(request):
    head, end, body = request.partition(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(end) and len(body) >= int(length[0] if length else 0)


class FullBacklog:
    """Listens, and its queue is full: whoever connects hears nothing at all."""

    def __init__(self, host="127.0.0.1", port=0):
        self._listener = socket.create_server((host, port), backlog=0)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._waiting = []

    def __enter__(self):
        for _ in range(4):
            self._waiting.append(socket.socket())
            self._waiting[-1].setblocking(False)
            self._waiting[-1].connect_ex(self._listener.getsockname())
        return self

    def __exit__(self, *_):
        for waiting in (*self._waiting, self._listener):
            waiting.close()


def silent():
    """Accept, read, and never answer."""
    return RawServer(lambda _: iter(()))


def dripping_body():
    return RawServer(lambda _: [OK + b"Content-Length: 1000\r\n\r\n", *[b" "] * 1000], pace=0.05)


def dripping_head():
    head = answer(OK + b"X-Slow: %b\r\n" % (b"x" * 1000))
    return RawServer(lambda _: [head[n : n + 1] for n in range(len(head))], pace=0.05)


def endless_chunks():
    def pieces(_):
        yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
        while True:
            yield chunk(b" " * 100)

    return RawServer(pieces, pace=0.01)


def rate_limited():
    return RawServer(lambda _: [answer(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\n", b"{}")])


def flapping():
    """Fail every other time."""
    down = answer(b"HTTP/1.1 503 Service Unavailable\r\n", b"{}")
    return RawServer(lambda number: [down if number % 2 else answer()])


def down():
    """Fail every time, not at once."""
    body = answer(b"HTTP/1.1 503 Service Unavailable\r\n", b"{}")
    return RawServer(lambda _: [body[:20], body[20:]], pace=0.02)


def bomb(size):
    """Return the answer that is `size` zeros, compressed."""
    packed = gzip.compress(bytes(min(size, 1 << 20)))
    # Gzip members may follow one another: a large bomb costs no time to make.
    body = packed * max(1, size >> 20)
    return answer(OK + b"Content-Encoding: gzip\r\n", body)
