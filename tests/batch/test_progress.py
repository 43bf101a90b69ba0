"""The bar of a map: on a real terminal, nowhere else, and closed however the map is left."""

import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from support.http import Answer
from support.terminal import Terminal
from tqdm import tqdm

import flow_client

SECONDS = 40


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.end()


@pytest.fixture
def statuses(http_server):
    """What the status of each execution is, by its number; `completed` if it is not there."""
    statuses = {}

    def answer(request):
        if request.method == "POST":
            number = request.json["input_parameters"]["number"]
            return Answer(202, {"execution_id": f"e-{number}", "status": "pending"}) if number >= 0 else Answer(422, {})
        number = int(request.path.rpartition("-")[2])
        status = statuses.get(number, "completed")
        return Answer(
            200, {"execution_id": f"e-{number}", "status": status() if callable(status) else status, "output": number}
        )

    http_server.handle = answer
    return statuses


@pytest.fixture
def batch(client, statuses):
    """Maps the numbers, with a bar."""
    submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")

    def start(numbers, **options):
        each = ({"number": number} for number in numbers)
        inputs = list(each) if isinstance(numbers, list) else each
        return client.map(submit, inputs, **{"timeout": SECONDS, "progress": True, **options})

    return start


@pytest.fixture
def drawn(batch, terminal, monkeypatch):
    """Maps the numbers while standard error is the terminal."""

    def start(numbers, **options):
        # Not before the test: pytest puts its own in place then.
        monkeypatch.setattr(sys, "stderr", terminal.stream)
        return batch(numbers, **options)

    return start


def last_drawn(terminal):
    return terminal.end().strip().rpartition("\r")[2]


def test_the_bar_counts_up_to_the_number_of_inputs_on_standard_error_alone(drawn, terminal, capfd):
    assert [record.output for record in drawn(list(range(12)))] == list(range(12))
    bar = last_drawn(terminal)
    assert bar.startswith("100%|")
    assert "| 12/12 [" in bar
    assert capfd.readouterr().out == ""


def test_inputs_without_a_length_are_counted(drawn, terminal):
    assert len(list(drawn(iter(range(12))))) == 12
    assert last_drawn(terminal).startswith("12it [")


def test_no_inputs_are_a_bar_too(drawn, terminal):
    assert list(drawn([])) == []
    assert last_drawn(terminal).startswith("0it [")


def test_what_has_ended_is_counted_though_it_cannot_be_yielded_yet(drawn, terminal, statuses):
    """The first ends when the bar has counted the others."""
    statuses[0] = lambda: "completed" if "| 3/4 [" in terminal.text else "running"
    assert len(list(drawn(list(range(4))))) == 4
    assert "| 4/4 [" in last_drawn(terminal)


def test_the_clock_goes_on_while_nothing_ends(drawn, terminal, statuses):
    """The only one ends when the clock has been seen to go."""
    statuses[0] = lambda: "completed" if "| 0/1 [00:02<" in terminal.text else "running"
    assert len(list(drawn([0]))) == 1


def test_it_says_how_many_did_not_complete(drawn, terminal, statuses):
    statuses |= {1: "failed", 2: "Cancelled", 3: "timeout"}
    outcomes = list(drawn([0, 1, 2, 3, -1], return_exceptions=True))
    assert isinstance(outcomes[-1], flow_client.PlatformBadRequestError)
    bar = last_drawn(terminal)
    assert "| 5/5 [" in bar
    assert bar.endswith(", 4 failed]")


def leave_by_error(records):
    with pytest.raises(flow_client.PlatformBadRequestError):
        list(records)


def leave_by_interrupt(records):
    with pytest.raises(KeyboardInterrupt):
        records.throw(KeyboardInterrupt)


@pytest.mark.parametrize(
    "leave",
    [leave_by_error, leave_by_interrupt, lambda records: records.close(), list],
    ids=["error", "interrupt", "close", "end"],
)
def test_the_bar_is_closed_however_the_map_is_left(drawn, terminal, leave):
    numbers = [0, 1, 2, -1 if leave is leave_by_error else 3]
    records = drawn(numbers, max_in_flight=1)
    assert len(tqdm._instances) == 0  # nothing is begun before a record is asked for
    assert next(records).output == 0
    assert len(tqdm._instances) == 1
    leave(records)
    assert len(tqdm._instances) == 0
    assert terminal.end().endswith("\n")


def test_there_is_no_bar_when_standard_error_is_no_terminal(batch, capfd, monkeypatch):
    assert len(list(batch([1, 2, 3]))) == 3
    monkeypatch.setattr(sys, "stderr", None)
    assert len(list(batch([1, 2, 3]))) == 3
    assert tuple(capfd.readouterr()) == ("", "")


PROGRAM = """
import sys
{before}
from functools import partial
from flow_client import PlatformClient
with PlatformClient({url!r}, "t-1", "org-1", "ws-1") as client:
    submit = partial(client.submit_code_block_execution, "cb-1", ring_id="r-1")
    for record in client.map(submit, [{{"number": n}} for n in range({count})], progress={progress}):
        print(record.output)
{after}
"""


def program(url, *, count=3, progress=True, before="", after=""):
    code = PROGRAM.format(url=url, count=count, progress=progress, before=before, after=after)
    return [sys.executable, "-W", "error", "-c", code]


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_a_program_whose_errors_go_to_a_pipe_is_silent(http_server, statuses):
    done = run(program(http_server.url))
    assert (done.stdout, done.stderr) == ("0\n1\n2\n", "")


def test_a_program_on_a_terminal_has_its_output_to_itself(http_server, statuses, terminal):
    command = program(http_server.url)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=terminal.stream, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout == "0\n1\n2\n"
    assert "| 3/3 [" in last_drawn(terminal)


def test_ctrl_c_closes_the_bar_before_anything_else_is_said(http_server, statuses, terminal):
    interrupted = threading.Event()
    statuses[1] = lambda: "completed" if interrupted.is_set() else "running"
    before = "import logging; logging.basicConfig(format='%(message)s')"
    with subprocess.Popen(
        program(http_server.url, before=before), stdout=subprocess.DEVNULL, stderr=terminal.stream
    ) as script:
        assert terminal.shows("| 2/3 [")
        os.kill(script.pid, signal.SIGINT)
        assert script.wait(timeout=SECONDS) == -signal.SIGINT
    bar, _, rest = terminal.end().partition("\r\n")
    assert "| 2/3 [" in bar.rpartition("\r")[2]
    assert rest.startswith("map stopped with 1 execution in flight")


def test_without_tqdm_a_bar_is_refused_before_anything_is_submitted(http_server, statuses):
    done = run(program(http_server.url, before="sys.modules['tqdm'] = None"))
    assert done.returncode == 1
    assert "ConfigurationError: progress=True needs tqdm: pip install 'flow-client[progress]'" in done.stderr
    assert http_server.received == []


def test_a_map_without_a_bar_loads_no_tqdm(http_server, statuses):
    for progress in (False, True):
        done = run(program(http_server.url, progress=progress, after="print('tqdm' in sys.modules)"))
        assert done.stdout.splitlines()[-1] == str(progress)
