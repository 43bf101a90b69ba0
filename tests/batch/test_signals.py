"""Signal handlers that raise while `map` reads, names or submits an input: their exception is not the input's."""

import signal
import time
from functools import partial

import pytest
from support.http import Answer

import flow_client
from flow_client._core.interruptible import sleep


class SoftTimeLimit(Exception):  # noqa: N818 - as Celery's SoftTimeLimitExceeded
    """Derives from nothing that a library raises."""


@pytest.fixture
def alarm():
    """Rings once, after some seconds: a signal handler raises `SoftTimeLimit`."""

    def ring(*_):
        raise SoftTimeLimit

    before = signal.signal(signal.SIGALRM, ring)
    yield partial(signal.setitimer, signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def running(http_server):
    """Executions that do not end."""

    def answer(request):
        number = request.json["input_parameters"]["number"] if request.method == "POST" else 0
        return Answer(202, {"execution_id": f"e-{number}", "status": "running"})

    http_server.handle = answer


class Task:
    """Two inputs pass; the third is interrupted at the given moment."""

    def __init__(self, client, alarm, moment):
        self._client = client
        self._alarm = alarm
        self._moment = moment

    def reach(self, moment, number):
        if moment == self._moment and number == 2:
            self._alarm(0.05)
            sleep(20)  # in short stretches: another thread, of the server too, may be given the signal

    def inputs(self):
        for number in range(3):
            self.reach("read", number)
            yield {"number": number}

    def key(self, item):
        self.reach("name", item["number"])
        return f"key-{item['number']}"

    def submit(self, item, **key):
        self.reach("submit", item["number"])
        return self._client.submit_code_block_execution("c-1", item, ring_id="r-1", **key)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("moment", ["read", "name", "submit"])
def test_what_a_signal_handler_raises_ends_the_map_at_once(client, alarm, moment):
    task = Task(client, alarm, moment)
    batch = client.map(task.submit, task.inputs(), key=task.key, return_exceptions=True)
    started = time.monotonic()
    with pytest.raises(SoftTimeLimit) as caught:
        list(batch)
    assert time.monotonic() - started < 15
    (note,) = caught.value.__notes__
    assert note.startswith("map stopped with 2 executions in flight")
    assert batch.counts.errors == 0


@pytest.mark.usefixtures("running")
def test_an_alarm_that_interrupts_the_request_ends_the_map(client, alarm, http_server):
    answer = http_server.handle

    def hang(request):
        if request.method == "POST" and request.json["input_parameters"]["number"] == 1:
            alarm_is_set.append(alarm(0.05))
            time.sleep(1)
        return answer(request)

    alarm_is_set = []
    http_server.handle = hang
    submit = partial(client.submit_code_block_execution, "c-1", ring_id="r-1")
    with pytest.raises(SoftTimeLimit) as caught:
        list(client.map(submit, ({"number": number} for number in range(2)), key="k", return_exceptions=True))
    assert "1 execution in flight, 1 perhaps submitted" in caught.value.__notes__[0]


def test_an_alarm_that_submit_itself_turns_into_an_error_is_the_inputs(client, alarm):
    def submit(_, **__):
        try:
            alarm(0.05)
            time.sleep(20)
        except SoftTimeLimit as error:
            raise flow_client.InvalidRequestError("this input takes too long to prepare") from error

    (outcome,) = client.map(submit, [1], return_exceptions=True)
    assert isinstance(outcome, flow_client.InvalidRequestError)
