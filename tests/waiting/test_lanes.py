"""The threads of futures: how many there are, and that none is stopped by another's job."""

import queue
import threading

import pytest

from flow_client._waiting.lanes import IDLE_SECONDS, THREAD_NAME, Lanes

SECONDS = 20


class Owner:
    """Carries out what lanes post, as the dispatcher does, on a clock of its own."""

    def __init__(self, most=3):
        self.now = 0.0
        self._posted = queue.SimpleQueue()
        self.lanes = Lanes(self._posted.put, most, lambda: self.now)

    def take_in(self, reports=1):
        for _ in range(reports):
            self._posted.get(timeout=SECONDS)()


@pytest.fixture
def owner():
    owner = Owner()
    yield owner
    owner.lanes.close()


def test_lanes_are_started_as_they_are_needed_and_used_again(owner):
    threads = []
    for _ in range(3):
        owner.lanes.give(lambda: threads.append(threading.current_thread()))
        owner.take_in()
    assert owner.lanes.count == 1
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert threads[0].name == THREAD_NAME


def test_there_is_no_room_beyond_the_limit(owner):
    release = threading.Event()
    for _ in range(3):
        assert owner.lanes.has_room
        owner.lanes.give(release.wait)
    assert not owner.lanes.has_room
    release.set()
    owner.take_in(3)
    assert owner.lanes.has_room


def test_a_job_that_fails_leaves_its_lane_alive(owner, caplog):
    def fail():
        raise SystemExit(3)

    owner.lanes.give(fail)
    owner.take_in()
    ran = threading.Event()
    owner.lanes.give(ran.set)
    assert ran.wait(SECONDS)
    assert owner.lanes.count == 1
    assert "a poll failed in an unexpected way" in caplog.text


def test_lanes_that_are_not_needed_end(owner):
    release = threading.Event()
    for _ in range(3):
        owner.lanes.give(release.wait)
    release.set()
    owner.take_in(3)
    for _ in range(10):  # one lane is enough for these
        owner.now += IDLE_SECONDS / 5
        owner.lanes.give(lambda: None)
        owner.take_in()
        owner.lanes.retire()
    assert owner.lanes.count == 1


def test_after_the_close_those_that_are_busy_end_with_their_job(owner, eventually):
    release, threads = threading.Event(), []

    def job():
        threads.append(threading.current_thread())
        release.wait(SECONDS)

    owner.lanes.give(job)
    assert eventually(lambda: threads)
    owner.lanes.close()
    release.set()
    threads[0].join(SECONDS)
    assert not threads[0].is_alive()
