"""A platform's executions on the recording server: it knows idempotency keys, and ends executions as it is told."""

import json
import threading
from collections import Counter

from support.http import Answer

from flow_client import TERMINAL_STATUSES


class Executions:
    """Answers submissions and looks. An input is `{"number": n}`; its executions are `e-n-0`, `e-n-1` and so on.

    Attributes:
        submissions: the number and the idempotency key of each submission, in the order in which they came.
        started: how often each number's execution was started.
        refuse: asked with the number and the count of submissions so far; returns an answer instead, or None.
        status: asked with the number and the execution's own number; returns its status.
        most_unfinished: how many executions there were at most that had started and were not yet seen to have ended.
    """

    def __init__(self, server, replayed_header=None):
        self.submissions = []
        self.started = Counter()
        self.refuse = lambda _number, _count: None
        self.status = lambda _number, _execution: "completed"
        self.most_unfinished = 0
        self._unfinished = set()
        self._replayed_header = replayed_header
        self._by_key = {}
        self._lock = threading.Lock()
        server.handle = self.handle

    @property
    def keys(self):
        return [key for _, key in self.submissions]

    def keys_of(self, number):
        return [key for each, key in self.submissions if each == number]

    def handle(self, request):
        with self._lock:
            return self._submit(request) if request.method == "POST" else self._look(request)

    def _submit(self, request):
        number, key = request.json["input_parameters"]["number"], request.headers["Idempotency-Key"]
        self.submissions.append((number, key))
        refused = self.refuse(number, len(self.submissions))
        if refused is not None:
            return refused
        if key in self._by_key:
            return self._replay(request, *self._by_key[key])
        execution_id = f"e-{number}-{self.started[number]}"
        self.started[number] += 1
        self._by_key[key] = (execution_id, request.body)
        self._unfinished.add(execution_id)
        self.most_unfinished = max(self.most_unfinished, len(self._unfinished))
        return Answer(202, {"execution_id": execution_id, "status": "pending"})

    def _replay(self, request, execution_id, body):
        if body != request.body:
            detail = "This Idempotency-Key was used for a request with another body."
            return Answer(422, {"detail": detail})
        if self._replayed_header:
            return Answer(202, {"execution_id": execution_id, "status": "pending"}, {self._replayed_header: "true"})
        return Answer(202, {"execution_id": execution_id, "status": self._status_of(execution_id)})

    def _look(self, request):
        execution_id = request.path.rpartition("/")[2]
        number = int(execution_id.split("-")[1])
        status = self._status_of(execution_id)
        if status in TERMINAL_STATUSES:
            self._unfinished.discard(execution_id)
        record = {"execution_id": execution_id, "status": status, "output": number}
        return Answer(200, json.dumps(record).encode())

    def _status_of(self, execution_id):
        _, number, execution = execution_id.split("-")
        return self.status(int(number), int(execution))
