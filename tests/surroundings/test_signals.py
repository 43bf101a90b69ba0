"""What a signal handler raises comes out of whatever the client is doing, at once and as it is."""

import logging
import signal
import sys
import time
from contextlib import contextmanager

import pytest
from support.http import Answer
from support.size import few
from surroundings.launch import PROGRAMS, report_of
from urllib3 import HTTPResponse

from flow_client import PlatformClient, PlatformConnectionError, PlatformTimeoutError

# A socket that an interrupt left unclosed: its warning, as an error, would run Python code while garbage is collected,
# and what a signal handler raises there is lost.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class SoftTimeLimit(Exception):  # noqa: N818 - as its models
    """As Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException."""


class TimeLimit(TimeoutError):  # noqa: N818 - as above
    """As the recipes for time limits have it."""


class ValueLimit(ValueError):  # noqa: N818 - as above
    """Of another kind that libraries raise."""


KINDS = [SoftTimeLimit, TimeoutError, TimeLimit, ValueLimit, ConnectionResetError, RuntimeError, SystemExit]
REQUESTS = {
    "the answer of a call": lambda client: client.get_execution_status("hole-1"),
    "a back-off": lambda client: client.get_execution_status("busy-1"),
}
WAITS = {
    "a held wait": ("hole-1", lambda client, **how: client.execution("hole-1").wait(**how)),
    "a wait": ("running-1", lambda client, **how: client.execution("running-1").wait(**how)),
    "a result": ("running-1", lambda client, **how: client.execution("running-1").result(**how)),
    "a paced wait": (
        "running-1",
        lambda client, **how: client.await_execution_result("running-1", poll_interval_seconds=0.01, **how),
    ),
    "a code block": (
        "running-1",
        lambda client, **how: client.execute_code_block("running-1", {}, None, **RING, **how),
    ),
    "a workflow": ("running-1", lambda client, **how: client.execute_workflow("running-1", {}, **RING, **how)),
    "an agent": (
        "running-1",
        lambda client, **how: client.execute_agent("running-1", {}, None, "isolated", **RING, **how),
    ),
}
RING = {"ring_id": "r-1"}
FINALIZER = HTTPResponse.closed.fget.__code__


@contextmanager
def alarm(seconds, handler):
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def in_finalizer(frame):
    """Return whether a signal met what a response's finalizer calls: what is raised there is lost without a word."""
    while frame is not None and frame.f_code is not FINALIZER:
        frame = frame.f_back
    return frame is not None


def raising(error):
    """Return a handler, in one of the forms that handlers have. A signal that meets a finalizer comes once more."""

    class Limit:
        def __init__(self):
            self.raised = 0.0

        def __call__(self, *arguments):
            if in_finalizer(arguments[1]):
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                return
            self.raised = time.monotonic()
            raise error

    return Limit()


@pytest.fixture
def client(server):
    with PlatformClient(server.url, "t-1", "org-1", "ws-1") as client:
        yield client


def interrupted(error, use):
    """Return what came out of `use` when a signal handler raised `error`, and the seconds it took."""
    handler = raising(error)
    with alarm(0.3, handler), pytest.raises(type(error)) as caught:
        use()
    return caught.value, time.monotonic() - handler.raised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", REQUESTS)
def test_it_comes_out_of_a_call(client, kind, way):
    error = kind("the time is up")
    came, seconds = interrupted(error, lambda: REQUESTS[way](client))
    assert came is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert seconds < 10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAITS)
def test_it_comes_out_of_a_wait_which_says_what_goes_on(client, server, caplog, kind, way):
    execution_id, wait = WAITS[way]
    error = kind("the time is up")
    with caplog.at_level(logging.WARNING, "flow_client"):
        came, seconds = interrupted(error, lambda: wait(client))
    assert came is error
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"the wait for execution {execution_id} was interrupted by {kind.__name__}; it goes on")
    assert error.__notes__ == [line]
    assert server.cancelled == {}
    assert seconds < 10


@pytest.mark.parametrize("kind", [SoftTimeLimit, TimeLimit, SystemExit])
@pytest.mark.parametrize("way", sorted(set(WAITS) - {"a held wait"}))
def test_a_wait_that_it_ends_cancels_the_execution_if_told_to(client, server, kind, way):
    execution_id, wait = WAITS[way]
    error = kind("the time is up")
    interrupted(error, lambda: wait(client, on_interrupt="cancel"))
    assert server.cancelled == {execution_id: 1}
    assert "its cancellation is asked for" in error.__notes__[0]


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_out_of_a_future(client, kind):
    error = kind("the time is up")
    future = client.execution("running-1").future()
    came, seconds = interrupted(error, future.result)
    assert came is error
    assert seconds < 10
    assert not future.done()
    future.cancel()


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_out_of_the_callback_of_a_renewed_token(http_server, kind):
    error = kind("the time is up")
    http_server.default = Answer(200, {"execution_id": "e-1", "status": "running"}, {"X-Auth-Token": "renewed"})
    with PlatformClient(http_server.url, "t-1", "o", "w", on_auth_token_refresh=lambda _: time.sleep(30)) as client:
        came, _ = interrupted(error, lambda: client.get_execution_status("e-1"))
    assert came is error


def test_a_time_out_that_was_handled_before_is_not_taken_for_the_reason(client):
    """A call from within `except TimeoutError` has that error as its context."""
    try:
        with alarm(0.1, raising(TimeLimit("the first"))):
            time.sleep(5)
    except TimeLimit:
        with pytest.raises(PlatformConnectionError):
            client.with_options(max_attempts=1).get_execution_status("cut-1")
        with pytest.raises(PlatformTimeoutError, match=r"the deadline of 1\.2 s passed"):
            client.with_options(timeout=1.2).get_execution_status("hole-1")


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["plain", "interrupt", "exit", "call"])
def test_a_storm(programs, server, kind):
    # Without warnings as errors, for the same reason.
    report = report_of(programs.start([sys.executable, PROGRAMS / "storm.py", kind, few(2, of=20), 7], server))
    assert report["signals"] > 20
    failures = {name: report.get(name, 0) for name in ("late", "foreign", "unsaid", "swallowed", "wrong")}
    assert failures == dict.fromkeys(failures, 0)
    assert (report["usable"], report["threads"]) == (10, 1)
    assert report["more_files"] < 10
