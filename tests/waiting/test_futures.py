"""Futures of executions against a server that counts: one thread, a bounded rate, an end for each of them."""

import os
import sys
import threading
import time
from concurrent import futures

import pytest
from support.http import Answer
from support.size import few

import flow_client
from flow_client._waiting.future_poller import THREAD_NAME, FuturePoller

# Python 3.12 warns of every fork beside a thread; that it works here is what is tested.
FORKS = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
E1 = "e-1"
RUNNING = Answer(200, {"execution_id": E1, "status": "running"})
SECONDS = 30


def waiting_threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_a_future_brings_the_record_and_its_thread_ends(client, http_server, eventually):
    http_server.queue(RUNNING, RUNNING, Answer(200, {"execution_id": E1, "status": "failed", "error": "boom"}))
    future = client.execution(E1).future()
    assert len(waiting_threads()) == 1
    assert future.result(SECONDS).error == "boom"
    assert {request.headers.get("Prefer") for request in http_server.received} == {None}
    assert eventually(lambda: not waiting_threads())
    assert client.execution(E1).future().result(SECONDS).status == "completed"
    assert eventually(lambda: not waiting_threads())


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_thousand_futures_cost_one_thread_and_a_bounded_rate(make_client, http_server, eventually):
    """Half of them end at the first poll, half after seconds."""
    rate, client = 150, make_client(max_polls_per_second=150)
    count, seconds, started = few(450, of=1000), few(2, of=5), time.monotonic()

    def handle(request):
        execution_id = request.path.rpartition("/")[2]
        ended = int(execution_id[2:]) % 2 == 0 or time.monotonic() > started + seconds
        return Answer(200, {"execution_id": execution_id, "status": "completed" if ended else "running"})

    http_server.handle = handle
    threads = {thread.ident for thread in threading.enumerate()}
    pending = [client.execution(f"e-{number}").future() for number in range(count)]
    time.sleep(1)
    ours = [t for t in threading.enumerate() if t.ident not in threads and "process_request" not in t.name]
    assert len(ours) == 1
    done = [future.result().execution_id for future in futures.as_completed(pending, timeout=90)]
    took = time.monotonic() - started
    assert sorted(done) == sorted(f"e-{number}" for number in range(count))
    assert len(http_server.received) <= rate * took + 2
    assert eventually(lambda: not waiting_threads())


def test_the_standard_librarys_wait_sees_the_first(client, http_server):
    http_server.handle = lambda request: Answer(
        200, {"execution_id": E1, "status": "completed" if request.path.endswith("e-2") else "running"}
    )
    slow, quick = client.execution(E1).future(), client.execution("e-2").future()
    done, pending = futures.wait([slow, quick], SECONDS, futures.FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {slow})


def test_a_cancelled_future_is_dropped_and_its_execution_goes_on(client, http_server, eventually):
    http_server.default = RUNNING
    pending = client.execution(E1).future()
    assert eventually(lambda: len(http_server.received) >= 2)
    assert pending.cancel()
    done, _ = futures.wait([pending], SECONDS)
    assert done == {pending}
    assert [f.cancelled() for f in futures.as_completed([pending], SECONDS)] == [True]
    assert eventually(lambda: not waiting_threads())
    assert not [request for request in http_server.received if request.path.endswith("/cancel")]


def test_callbacks_are_called_and_one_that_raises_does_not_stop_the_others(client, caplog, eventually):
    told = []

    def fail(_future):
        raise SystemExit(3)

    first = client.execution(E1).future()
    first.add_done_callback(fail)
    second = client.execution(E1).future()
    second.add_done_callback(told.append)
    assert second.result(SECONDS).status == "completed"
    assert eventually(lambda: told == [second])
    assert eventually(lambda: "a callback of the future of execution e-1 raised" in caplog.text)


def test_a_callback_may_make_the_next_future(client, eventually):
    chain = []

    def go_on(_future):
        if len(chain) < 3:
            chain.append(client.execution(E1).future())
            chain[-1].add_done_callback(go_on)

    go_on(None)
    assert eventually(lambda: len(chain) == 3 and chain[-1].done())


def test_transient_errors_pass(client, http_server):
    http_server.queue(Answer(503, {}), Answer(404, {}), Answer(502, b"bad"), Answer(429, {}, {"Retry-After": "0"}))
    assert client.execution(E1).future().result(SECONDS).status == "completed"
    assert len(http_server.received) == 5


def test_a_refusal_is_the_futures_error(client, http_server):
    http_server.queue(Answer(403, {"detail": "not yours"}))
    error = client.execution(E1).future().exception(SECONDS)
    assert isinstance(error, flow_client.PlatformPermissionError)
    assert error.execution_id == E1


def test_what_a_token_function_raises_is_the_futures_error(make_client, http_server, eventually):
    tokens = iter(["t-1"])
    http_server.default = Answer(401, {})
    client = make_client(auth_token=lambda: next(tokens))
    assert isinstance(client.execution(E1).future().exception(SECONDS), StopIteration)
    assert eventually(lambda: not waiting_threads())


def test_a_future_with_a_limit_runs_out_of_time(client, http_server):
    http_server.default = RUNNING
    started = time.monotonic()
    error = client.execution(E1).future(timeout=0.5).exception(SECONDS)
    assert isinstance(error, flow_client.ExecutionWaitTimeout)
    assert (error.execution_id, error.last_status) == (E1, "running")
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "soon"])
def test_an_unusable_limit_is_refused(client, timeout):
    with pytest.raises(flow_client.InvalidRequestError, match="timeout"):
        client.execution(E1).future(timeout)


def test_closing_the_client_fails_its_futures(make_client, http_server, eventually):
    http_server.default = RUNNING
    client = make_client()
    with client.with_options(timeout=5) as copy:
        pending = [client.execution(E1).future(), copy.execution("e-2").future()]
    assert not any(future.done() for future in pending)
    client.close()
    for future in pending:
        with pytest.raises(flow_client.ClientClosedError, match=r"before execution e-. ended; it goes on"):
            future.result(0)
    for closed in (client, copy):
        with pytest.raises(flow_client.ClientClosedError):
            closed.execution(E1).future()
    assert eventually(lambda: not waiting_threads())


def test_a_hint_makes_the_next_poll_immediate(client, http_server, eventually):
    http_server.queue(Answer(503, {}, {"Retry-After": "60"}))
    pending = client.execution(E1).future()
    assert eventually(lambda: http_server.received)
    assert not pending.done()
    client._shared.futures.prioritise(E1)
    assert pending.result(SECONDS).status == "completed"


@FORKS
def test_in_a_forked_child_the_parents_futures_fail_and_new_ones_work(client, http_server):
    http_server.default = RUNNING
    called = []
    inherited = client.execution(E1).future()
    inherited.add_done_callback(called.append)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            error = inherited.exception(5)
            is_clear = type(error) is flow_client.PlatformClientError and "belongs to the parent" in str(error)
            new = client.execution(E1).future(timeout=0.3).exception(SECONDS)
            code = 0 if is_clear and not called and isinstance(new, flow_client.ExecutionWaitTimeout) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not inherited.done()
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    assert inherited.result(SECONDS).status == "completed"


@FORKS
@pytest.mark.soak
def test_forks_at_any_moment_leave_no_future_unsettled_in_the_child(client):
    """The parent's thread may be anywhere, in the middle of settling one of them too."""
    count, exits = few(15, of=40), []
    for _ in range(count):
        pending = [client.execution(E1).future() for _ in range(3)]
        time.sleep(0.0017 * len(exits))
        child = os.fork()
        if child == 0:
            _, missing = futures.wait(pending, 10)
            os._exit(0 if not missing else 1)
        exits.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        for future in pending:
            future.cancel()
    assert exits == [0] * count


class Exits:
    """A token function that ends its thread as `sys.exit()` does, once it is told to."""

    def __init__(self):
        self.exits = False

    def __call__(self):
        if self.exits:
            raise SystemExit("no token")
        return "t-1"


def test_a_token_function_that_exits_fails_the_future_and_leaves_the_others_alive(make_client, http_server):
    token = Exits()
    client = make_client(auth_token=token)
    token.exits = True
    http_server.default = Answer(401, {"detail": "expired"})
    futures = [client.execution(f"e-{number}").future() for number in range(3)]
    for future in futures:
        with pytest.raises(SystemExit, match="no token"):
            future.result(timeout=20)
    token.exits = False
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    assert client.execution(E1).future().result(timeout=20).is_completed


def test_a_callback_that_exits_leaves_the_thread_alive(client, http_server):
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    first = client.execution(E1).future()
    first.add_done_callback(lambda _: sys.exit("from a callback"))
    second = client.execution(E1).future()
    assert first.result(timeout=20).is_completed
    assert second.result(timeout=20).is_completed


class BrokenHints:
    """Hints over a loop that is dead."""

    live = True

    def expect(self, *_):
        raise SystemExit("the loop is dead")

    drop = expect


@pytest.mark.parametrize("open_hints", [BrokenHints, BrokenHints().expect])
def test_hints_that_fail_leave_the_futures_to_http(http_server, client, caplog, open_hints):
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    poller = FuturePoller(client._requests.poll, open_hints)
    assert poller.future(E1, None).result(timeout=20).is_completed
    assert sum("futures fall back to HTTP" in message for message in caplog.messages) == 1
    poller.close()


def test_a_thread_that_fails_fails_its_futures_and_the_next_one_gets_another(client, http_server):
    http_server.default = Answer(200, {"execution_id": E1, "status": "running"})

    def kill():
        raise MemoryError("no room")

    futures = [client.execution(E1).future() for _ in range(3)]
    client._shared.futures._commands.put(kill)
    for future in futures:
        with pytest.raises(flow_client.PlatformClientError, match="the thread that polls for futures failed"):
            future.result(timeout=20)
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    assert client.execution(E1).future().result(timeout=20).is_completed
