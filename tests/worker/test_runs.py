"""Workers as a container starts them: real processes with an environment."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.processes import end

from flow_client import worker

TESTS = Path(__file__).parents[1]
LIMIT = 30


@pytest.fixture
def start(nats_server, execution_id):
    """Starts workers of the execution; none of them outlives the test."""
    started = []

    def start(handler="support.handlers:echo", *options, stdin=None, **environment):
        settings = {"NATS_URL": nats_server.url, "EXECUTION_ID": execution_id, **environment}
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "default", "-m", "flow_client.worker", handler, *options],
                env={**os.environ, **{name: value for name, value in settings.items() if value}},
                cwd=TESTS,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        end(process)


def _finish(process):
    _, stderr = process.communicate(timeout=LIMIT)
    return process.returncode, stderr


def test_a_worker_takes_the_input_and_leaves_the_output(bus, start, execution_id):
    bus.put_input(execution_id, b'{"input_data": [1], "session_id": "s"}')
    assert _finish(start(DEPLOYMENT_ID="d-1")) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert output["output"] == {"input": [1], "session": "s", "ids": [execution_id, "d-1"]}
    assert (output["deployment_id"], output["error"]) == ("d-1", None)
    assert bus.statuses(execution_id) == ["running"]
    assert not bus.input_waits(execution_id)


def test_a_result_has_usage_messages_and_state(bus, start, execution_id):
    bus.put_input(execution_id, b'{"messages": ["first"], "state": {"before": 1}}')
    assert _finish(start("support.handlers:everything")) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert (output["output"], output["usage"]) == ("out", {"tokens": 3})
    assert (output["messages"], output["state"]) == (["first", "m"], {"before": 1, "s": 1})
    assert [(event["sequence"], event["event_type"]) for event in bus.events(execution_id)] == [
        (1, "chunk"),
        (2, "done"),
    ]


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("support.handlers:fail", "ValueError", "the \\udc80 is broken"),
        ("support.handlers:leave", "SystemExit", "sys.exit(3)"),
        ("support.handlers:leave_in_good_order", "SystemExit", "sys.exit(0); use `return` to end a handler"),
        ("support.handlers:no_form", "InvalidRequestError", "output.cfg.layers[1] is a "),
        ("support.handlers:broken_output", "LostDeviceError", "the device is lost"),
        ("support.handlers:iterator", "InvalidRequestError", "usage is a map, which has no JSON form"),
        ("support.handlers:nan", "InvalidRequestError", "output is not a finite number"),
        ("support.handlers:too_large", "PayloadTooLargeError", "bytes"),
        ("support.handlers:coroutine", "TypeError", "async def"),
        ("support.handlers:async_stream", "TypeError", "async def"),
        ("support.handlers:async_callable", "TypeError", "async def"),
        ("support.handlers:async_partial", "TypeError", "async def"),
        ("support.handlers:returns_a_coroutine", "TypeError", "async def"),
        ("support.handlers:missing", "AttributeError", "missing"),
        ("no.such.module:handler", "ModuleNotFoundError", "no"),
    ],
)
def test_a_handler_that_fails_is_a_failed_output(bus, execution_id, handler, kind, message):
    bus.put_input(execution_id)
    assert worker.run(handler, execution_id=execution_id, nats_url=bus.url) == 0
    (output,) = bus.outputs(execution_id)
    assert output["output"] is None
    assert set(output["error"]) == {"type", "message", "traceback"}
    assert output["error"]["type"] == kind
    assert message in output["error"]["message"]
    assert output["error"]["traceback"].startswith("Traceback")
    assert bus.events(execution_id) == []
    assert not bus.input_waits(execution_id)


def test_a_traceback_begins_in_the_handler(bus, start, execution_id):
    bus.put_input(execution_id)
    assert _finish(start("support.handlers:fail")) == (0, "")
    (output,) = bus.outputs(execution_id)
    first_frame = output["error"]["traceback"].splitlines()[1]
    assert "handlers.py" in first_frame
    assert "in fail" in first_frame


@pytest.mark.parametrize("handler", ["support.handlers:stream", "support.handlers:stream_of_another"])
def test_what_a_handler_yields_is_emitted_and_what_it_returns_is_the_output(bus, start, execution_id, handler):
    bus.put_input(execution_id, b'{"input_data": ["to", "be"]}')
    assert _finish(start(handler)) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert (output["output"], output["usage"], output["error"]) == (2, {"words": 2}, None)
    assert [(event["event_type"], event["event_data"]) for event in bus.events(execution_id)] == [
        ("chunk", {"word": "to"}),
        ("chunk", {"word": "be"}),
    ]


def test_a_stream_that_returns_nothing_has_no_output(bus, start, execution_id):
    bus.put_input(execution_id)
    assert _finish(start("support.handlers:stream_without_an_end")) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert (output["output"], output["error"]) == (None, None)


@pytest.mark.parametrize(
    ("handler", "kind", "message", "events"),
    [
        ("stream_that_fails", "ValueError", "midway", ["first", "second", "tidied up"]),
        ("stream_of_nonsense", "InvalidRequestError", "event_data.layers[1] is an object", [{"fine": 1}, "tidied up"]),
    ],
)
def test_a_stream_that_fails_is_closed(bus, start, execution_id, handler, kind, message, events):
    bus.put_input(execution_id)
    assert _finish(start(f"support.handlers:{handler}")) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert output["error"]["type"] == kind
    assert message in output["error"]["message"]
    assert [event["event_data"] for event in bus.events(execution_id)] == events


def test_a_stream_that_is_stopped_is_closed(bus, start, execution_id, eventually):
    bus.put_input(execution_id)
    process = start("support.handlers:stream_for_ever", FLOW_GRACE_SECONDS="0.2")
    assert eventually(lambda: bus.events(execution_id))
    process.send_signal(signal.SIGTERM)
    assert _finish(process)[0] == 0
    assert bus.outputs(execution_id)[0]["error"]["type"] == "Cancelled"
    assert [event["event_data"] for event in bus.events(execution_id)][-1] == "tidied up"


def test_async_code_can_be_run_by_a_handler(bus, start, execution_id):
    bus.put_input(execution_id)
    assert _finish(start("support.handlers:async_inside")) == (0, "")
    assert bus.outputs(execution_id)[0]["output"] == 1


@pytest.mark.parametrize(("given", "seen"), [(b'{"config": {"model": "m"}}', {"model": "m"}), (b"{}", {})])
def test_a_handler_sees_the_configuration(bus, start, execution_id, given, seen):
    bus.put_input(execution_id, given)
    assert _finish(start("support.handlers:config")) == (0, "")
    assert bus.outputs(execution_id)[0]["output"] == seen


def test_an_input_that_is_null_stays_null(bus, start, execution_id):
    bus.put_input(execution_id, b'{"input_data": null}')
    assert _finish(start()) == (0, "")
    assert bus.outputs(execution_id)[0]["output"]["input"] is None


@pytest.mark.parametrize(("level", "logged"), [("info", True), ("", False)])
def test_a_handler_logs_at_the_level_that_is_set(bus, start, execution_id, level, logged):
    bus.put_input(execution_id)
    _, stderr = _finish(start("support.handlers:log", FLOW_LOG_LEVEL=level))
    assert ("as you like it" in stderr) == logged


def test_a_worker_that_crashes_leaves_its_prints_and_where_it_was(bus, start, execution_id):
    bus.put_input(execution_id)
    process = start("support.handlers:crash")
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGSEGV
    assert stdout == "step 1\n"
    assert "in crash" in stderr


def test_a_killed_worker_is_followed_at_once(bus, start, execution_id, eventually):
    bus.put_input(execution_id, b'{"input_data": "again"}')
    first = start("support.handlers:sleep")
    assert eventually(lambda: bus.events(execution_id))
    first.kill()
    first.wait()
    started = time.monotonic()
    assert _finish(start()) == (0, "")
    assert time.monotonic() - started < 15
    assert [output["output"]["input"] for output in bus.outputs(execution_id)] == ["again"]
    assert not bus.input_waits(execution_id)


def test_a_frozen_worker_that_wakes_up_stores_no_second_output(bus, start, execution_id, eventually):
    bus.put_input(execution_id)
    frozen = start("support.handlers:wait_for_cancel", FLOW_GRACE_SECONDS="10")
    assert eventually(lambda: bus.events(execution_id))
    frozen.send_signal(signal.SIGSTOP)
    assert _finish(start()) == (0, "")
    frozen.send_signal(signal.SIGTERM)
    frozen.send_signal(signal.SIGCONT)
    code, stderr = _finish(frozen)
    assert code == 74
    assert "taken over" in stderr
    assert len(bus.outputs(execution_id)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_blocking_handler_is_stopped_after_the_grace_period(bus, start, execution_id, number, eventually):
    bus.put_input(execution_id)
    process = start("support.handlers:sleep", FLOW_GRACE_SECONDS="0.3")
    assert eventually(lambda: bus.events(execution_id))
    started = time.monotonic()
    process.send_signal(number)
    code, stderr = _finish(process)
    assert code == 0
    assert ("time.sleep(60)" in stderr) == (number == signal.SIGTERM)
    assert time.monotonic() - started < 15
    (output,) = bus.outputs(execution_id)
    assert output["error"]["type"] == "Cancelled"
    assert "in sleep" in output["error"]["traceback"]
    assert not bus.input_waits(execution_id)


def test_a_handler_that_goes_on_all_the_same_is_stopped_again(bus, start, execution_id, eventually):
    bus.put_input(execution_id)
    process = start("support.handlers:sleep_stubbornly", FLOW_GRACE_SECONDS="0.3")
    assert eventually(lambda: bus.events(execution_id))
    process.send_signal(signal.SIGTERM)
    assert _finish(process) == (0, "")  # it came to its end by itself
    assert [event["event_data"] for event in bus.events(execution_id)] == ["started", "went on", "went on"]


def test_a_handler_that_asks_can_end_in_good_order(bus, start, execution_id, eventually):
    bus.put_input(execution_id)
    process = start("support.handlers:wait_for_cancel")
    assert eventually(lambda: bus.events(execution_id))
    process.send_signal(signal.SIGTERM)
    assert _finish(process) == (0, "")
    (output,) = bus.outputs(execution_id)
    assert (output["output"], output["error"]) == ("tidied up", None)


def test_a_worker_that_waits_for_its_input_stops_at_once(bus, start, execution_id, eventually):
    process = start()
    assert eventually(
        lambda: any(execution_id in consumer.config.filter_subject for consumer in bus.consumers()), LIMIT
    )
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, stderr = _finish(process)
    assert time.monotonic() - started < 10
    assert (code, stderr) == (69, "flow_client.worker: the worker was stopped before it had an input\n")


def test_a_malformed_input_has_an_exit_code(bus, start, execution_id):
    bus.put_input(execution_id, b"{")
    code, stderr = _finish(start())
    assert code == 65
    assert "malformed" in stderr
    assert bus.statuses(execution_id) == []


def test_no_input_has_an_exit_code(start):
    code, stderr = _finish(start(FLOW_INPUT_TIMEOUT_SECONDS="0.3"))
    assert code == 69
    assert "no input" in stderr


@pytest.mark.parametrize(
    ("handler", "environment", "message"),
    [
        ("no-colon", {}, "package.module:name"),
        ("m:f", {"EXECUTION_ID": ""}, "EXECUTION_ID"),
        ("m:f", {"EXECUTION_ID": "*"}, "execution_id"),
        ("m:f", {"NATS_URL": ""}, "NATS_URL"),
        ("m:f", {"FLOW_GRACE_SECONDS": "soon"}, "FLOW_GRACE_SECONDS"),
        ("m:f", {"FLOW_INPUT_TIMEOUT_SECONDS": "-1"}, "FLOW_INPUT_TIMEOUT_SECONDS"),
        ("m:f", {"FLOW_LOG_LEVEL": "loud"}, "FLOW_LOG_LEVEL is 'LOUD'; it must be one of DEBUG, INFO"),
    ],
)
def test_a_wrong_command_line_or_setting_has_an_exit_code(start, handler, environment, message):
    code, stderr = _finish(start(handler, **environment))
    assert code == 64
    assert message in stderr
    assert stderr.count("\n") == 1


def test_a_server_that_is_away_has_an_exit_code(execution_id, capsys):
    code = worker.run(lambda task: None, execution_id=execution_id, nats_url="nats://127.0.0.1:1", connect_timeout=0.3)
    assert code == 69
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_an_output_that_cannot_be_stored_has_an_exit_code(nats_server, bus, execution_id, capsys):
    bus.put_input(execution_id)
    config = bus.do(lambda js: js.stream_info("EXEC_OUTPUT")).config
    bus.do(lambda js: js.delete_stream("EXEC_OUTPUT"))
    try:
        code = worker.run(lambda task: None, execution_id=execution_id, nats_url=nats_server.url)
    finally:
        bus.do(lambda js: js.add_stream(config))
    assert code == 74
    assert "could not be stored" in capsys.readouterr().err
    assert bus.input_waits(execution_id)


def test_a_function_of_this_process_runs_in_this_thread(nats_server, bus, execution_id):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    bus.put_input(execution_id)
    handled = []
    assert worker.run(handled.append, execution_id=execution_id, nats_url=nats_server.url) == 0
    assert handled[0].execution_id == execution_id
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
    assert json.loads(bus.stored(f"exec.output.{execution_id}")[0].data)["output"] is None


def _rings(rung):
    return lambda *_: rung.append(time.monotonic())


def test_a_timer_of_the_process_goes_on(nats_server, bus, execution_id):
    bus.put_input(execution_id)
    rung = []
    before = signal.signal(signal.SIGALRM, _rings(rung))
    signal.setitimer(signal.ITIMER_REAL, 0.05, 100)
    try:
        worker.run(lambda task: time.sleep(0.2), execution_id=execution_id, nats_url=nats_server.url)
        due, interval = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) == 1
    assert (90 < due <= 100, interval) == (True, 100)


def test_a_worker_in_another_thread_touches_no_timer(nats_server, bus, execution_id):
    bus.put_input(execution_id)
    codes = []
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_REAL, 100, 50)
    try:
        run = functools.partial(worker.run, lambda task: None, execution_id=execution_id, nats_url=nats_server.url)
        thread = threading.Thread(target=lambda: codes.append(run()))
        thread.start()
        thread.join(LIMIT)
        due, interval = signal.getitimer(signal.ITIMER_REAL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert codes == [0]
    assert (90 < due <= 100, interval) == (True, 50)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
