"""Futures of executions against a server that counts: one thread, a bounded rate, an end for each of them."""

import os
import signal
import sys
import threading
import time
from concurrent import futures

import pytest
from support.http import Answer
from support.size import few

import flow_client
from flow_client._waiting import lanes
from flow_client._waiting.future_poller import THREAD_NAME, FuturePoller
from flow_client._waiting.polling import PollSchedule

# Python 3.12 warns of every fork beside a thread; that it works here is what is tested.
FORKS = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
E1 = "e-1"
RUNNING = Answer(200, {"execution_id": E1, "status": "running"})
SECONDS = 30


def waiting_threads():
    return [thread for thread in threading.enumerate() if thread.name in (THREAD_NAME, lanes.THREAD_NAME)]


def test_a_future_brings_the_record_and_its_thread_ends(client, http_server, eventually):
    http_server.queue(RUNNING, RUNNING, Answer(200, {"execution_id": E1, "status": "failed", "error": "boom"}))
    future = client.execution(E1).future()
    assert THREAD_NAME in [thread.name for thread in waiting_threads()]
    assert future.result(SECONDS).error == "boom"
    assert {request.headers.get("Prefer") for request in http_server.received} == {"wait=20"}
    assert eventually(lambda: not waiting_threads())
    assert client.execution(E1).future().result(SECONDS).status == "completed"
    assert eventually(lambda: not waiting_threads())


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_thousand_futures_cost_a_few_threads_and_a_bounded_rate(make_client, http_server, eventually):
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
    assert len(ours) <= 1 + lanes.MOST_LANES
    assert client.stats().lanes == len(ours) - 1
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
    client._shared.futures._schedule = PollSchedule(share=2000, longest=600)
    http_server.queue(RUNNING)
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

    def kill(_):
        raise MemoryError("no room")

    futures = [client.execution(E1).future() for _ in range(3)]
    client._shared.futures._commands.put(kill)
    for future in futures:
        with pytest.raises(flow_client.PlatformClientError, match="the thread that polls for futures failed"):
            future.result(timeout=20)
    http_server.default = Answer(200, {"execution_id": E1, "status": "completed"})
    assert client.execution(E1).future().result(timeout=20).is_completed


def test_a_refusal_rests_all_polls_until_retry_after(client, http_server, eventually):
    """The refused one and the others alike, however many lanes were about to send."""
    refused_at, early = [], []

    def handle(request):
        now = time.monotonic()
        if not refused_at and len(http_server.received) > 5:
            refused_at.append(now)
            return Answer(429, {}, {"Retry-After": "1"})
        # Those that were on their way arrive within a moment.
        early.extend([request.path] if refused_at and 0.2 < now - refused_at[0] < 1 else [])
        return Answer(200, {"execution_id": request.path.rpartition("/")[2], "status": "running"})

    http_server.handle = handle
    pending = [client.execution(f"e-{number}").future() for number in range(40)]
    assert eventually(lambda: refused_at and time.monotonic() > refused_at[0] + 1.5)
    assert early == []
    assert client.stats().refusals == 1
    assert client.stats().requests_per_second < 200
    for future in pending:
        future.cancel()


class Holding:
    """Holds requests, as `Prefer: wait` asks for, until it is told that the executions have ended."""

    def __init__(self, server):
        self.ended = threading.Event()
        self.most = self._now = 0
        self._lock = threading.Lock()
        server.handle = self.handle

    def handle(self, request):
        seconds = float(request.headers.get("Prefer", "wait=0").partition("=")[2])
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        ended = self.ended.wait(seconds)
        with self._lock:
            self._now -= 1
        record = {"execution_id": request.path.rpartition("/")[2], "status": "completed" if ended else "running"}
        return Answer(200, record, {"Preference-Applied": "wait"} if seconds else {})


def test_as_many_futures_as_lanes_have_a_held_request_each(client, http_server, eventually):
    platform = Holding(http_server)
    pending = [client.execution(f"e-{number}").future() for number in range(lanes.MOST_LANES)]
    assert eventually(lambda: platform.most == lanes.MOST_LANES)
    assert client.stats().lanes == lanes.MOST_LANES
    assert len(http_server.received) <= 2 * lanes.MOST_LANES
    platform.ended.set()
    assert {future.result(SECONDS).status for future in pending} == {"completed"}
    assert eventually(lambda: not waiting_threads())


def test_a_newcomer_finds_a_lane_though_all_of_them_hold(client, http_server, eventually):
    platform = Holding(http_server)
    pending = [client.execution(f"e-{number}").future() for number in range(lanes.MOST_LANES)]
    assert eventually(lambda: platform.most == lanes.MOST_LANES)
    newcomer = client.execution("new").future()
    assert eventually(lambda: any(request.path.endswith("/new") for request in http_server.received), 10)
    platform.ended.set()
    assert newcomer.result(SECONDS).status == "completed"
    assert all(future.result(SECONDS) for future in pending)


def test_closing_gives_up_the_requests_that_the_platform_holds(make_client, http_server, eventually):
    platform, client = Holding(http_server), make_client()
    for number in range(5):
        client.execution(f"e-{number}").future()
    assert eventually(lambda: platform.most == 5)
    client.close()
    assert eventually(lambda: not waiting_threads(), 10)
    platform.ended.set()


def test_a_slow_callback_holds_up_no_other_future(client, eventually):
    release = threading.Event()
    slow = [client.execution(f"slow-{number}").future() for number in range(5)]
    for future in slow:
        future.add_done_callback(lambda _: release.wait(SECONDS))
    assert eventually(lambda: all(future.done() for future in slow))
    assert client.execution("quick").future().result(10).status == "completed"
    release.set()
    assert eventually(lambda: not waiting_threads())


def test_without_another_thread_the_futures_are_polled_all_the_same(client, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == lanes.THREAD_NAME:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pending = [client.execution(f"e-{number}").future() for number in range(5)]
    assert {future.result(SECONDS).status for future in pending} == {"completed"}


def test_the_stats_show_what_is_going_on_and_copies_share_it(client, http_server, eventually):
    http_server.default = RUNNING
    pending = client.execution(E1).future()
    copy = client.with_options(timeout=5)
    assert eventually(lambda: copy.stats().requests >= 2)
    stats = copy.stats()
    assert (stats.watched, stats.resting, stats.refusals, stats.held) == (1, 0.0, 0, 0)
    assert stats.lanes >= 1
    assert stats.requests_per_second == 200
    pending.cancel()
    assert eventually(lambda: (client.stats().watched, client.stats().lanes) == (0, 0))


def test_alarms_are_left_to_the_main_thread_but_not_in_callbacks(make_client, http_server):
    """A process that a callback starts inherits what its thread blocks."""
    masks = {}

    def blocked(where):
        masks[where] = signal.SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return "t-1"

    client = make_client(auth_token=lambda: blocked(threading.current_thread().name))
    http_server.queue(Answer(401, {}))
    future = client.execution(E1).future()
    told = threading.Event()
    future.add_done_callback(lambda _: (blocked("callback"), told.set()))
    assert future.result(SECONDS).status == "completed"
    assert told.wait(SECONDS)
    assert masks == {"MainThread": False, lanes.THREAD_NAME: True, "callback": False}
