"""A real HTTP server on a free port that records what it is sent and answers as it is told."""

import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """A request as it came over the socket."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Answer:
    """An answer to be sent: `body` goes out as JSON unless it is bytes already."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class HttpServer:
    """Answers with the queued answers in turn, then with `default` for ever. `handle` replaces both.

    The default is the record of whichever execution is asked for.
    """

    def __init__(self, port=0):
        self.received: list[Received] = []
        self.answers: deque[Answer] = deque()
        self.default = Answer(200, {"execution_id": "e-1", "status": "completed"})
        self.handle = None
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def queue(self, *answers):
        self.answers.extend(answers)

    def answer_to(self, request):
        self.received.append(request)
        if self.handle is not None:
            return self.handle(request)
        return self.answers.popleft() if self.answers else self._default_for(request)

    def _default_for(self, request):
        body = self.default.body
        if request.method != "GET" or not isinstance(body, dict) or "execution_id" not in body:
            return self.default
        return replace(self.default, body={**body, "execution_id": request.path.rpartition("/")[2]})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.owner.answer_to(Received(self.command, self.path, dict(self.headers.items()), body))
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
        self.wfile.flush()

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_):
        pass
