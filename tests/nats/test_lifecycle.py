"""Bridges that come and go, and bridges among greenlets."""

import subprocess
import sys
import threading
import uuid

import psutil
import pytest
from support.bus import Bus

from flow_client import NatsBridge
from flow_client._nats.loop import THREAD_NAME

OPENED = 200

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from flow_client import NatsBridge

url, execution_id = sys.argv[1:]
ticks = []

def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)

ticking = gevent.spawn(tick)
with NatsBridge(url) as bridge:
    def push(first):
        for number in range(first, first + 50):
            bridge.push_execution_event(None, execution_id, "chunk", number)
    gevent.joinall([gevent.spawn(push, first) for first in range(0, 500, 50)], raise_error=True)
    before = len(ticks)
    for _ in range(20):
        bridge.publish_execution_status(execution_id, "running")
    assert len(ticks) > before, "the other greenlets stood still"
ticking.kill()
print("done")
"""


@pytest.mark.timeout(120)
def test_two_hundred_bridges_leave_no_thread_and_no_file(nats_server):
    def use():
        with NatsBridge(nats_server.url) as bridge:
            bridge.publish_execution_status(uuid.uuid4(), "running")

    use()
    process = psutil.Process()
    files, threads = process.num_fds(), threading.active_count()
    for _ in range(OPENED):
        use()
    assert threading.active_count() == threads
    assert THREAD_NAME not in {thread.name for thread in threading.enumerate()}
    assert process.num_fds() <= files


def test_greenlets_share_a_bridge_and_go_on_while_it_waits(nats_server):
    execution_id = str(uuid.uuid4())
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS, nats_server.url, execution_id],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    events = Bus(nats_server.url).events(execution_id)
    assert [event["sequence"] for event in events] == list(range(1, 501))
    assert sorted(event["event_data"] for event in events) == list(range(500))
