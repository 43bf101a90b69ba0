"""A bridge in forked children, at exit, and what importing it costs."""

import os
import subprocess
from pathlib import Path

import pytest
from support.processes import STRICT, without_slow_steps

from flow_client import NatsBridge


def _run(script, nats_url, *arguments):
    done = subprocess.run(
        [*STRICT, "-c", script, *arguments],
        env={**os.environ, "NATS_URL": nats_url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, without_slow_steps(done.stderr)) == (0, "")
    return done.stdout


_FORK = """
import gc, os, sys
from flow_client import NatsBridge

bridge = NatsBridge()
def push(who):
    for _ in range(20):
        bridge.push_execution_event(None, sys.argv[1], "chunk", who)
    bridge.flush()
push("parent")
child = os.fork()
push("child" if child == 0 else "parent")
gc.collect()
if child == 0:
    sys.exit(0) if sys.argv[2] == "exit" else os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
push("parent")
"""


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_parent_and_child_go_on_after_a_fork(nats_server, bus, execution_id, how):
    _run(_FORK, nats_server.url, execution_id, how)
    events = bus.events(execution_id)
    assert [event["sequence"] for event in events] == list(range(1, 81))
    assert [event["event_data"] for event in events].count("child") == 20


_EXIT = """
import sys
from flow_client import NatsBridge

bridge = NatsBridge()
bridge.push_execution_event(None, sys.argv[1], "chunk", 1)
"""


def test_a_bridge_that_was_not_closed_is_closed_at_exit(nats_server, bus, execution_id):
    _run(_EXIT, nats_server.url, execution_id)
    assert len(bus.events(execution_id)) == 1


_IMPORT = """
import sys
import flow_client
print(sorted({"asyncio", "nats", "requests", "pydantic"} & set(sys.modules)))
flow_client.NatsBridge
print("requests" in sys.modules, "asyncio" in sys.modules)
"""


def test_the_two_halves_are_imported_apart(nats_server):
    assert _run(_IMPORT, nats_server.url) == "[]\nFalse True\n"


def test_a_thousand_calls_leave_nothing_behind(nats_server, execution_id):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    with NatsBridge(nats_server.url) as bridge:
        bridge.push_execution_event(None, execution_id, "chunk", 0)
        bridge.flush()
        before = descriptors()
        for number in range(1000):
            bridge.push_execution_event(None, execution_id, "chunk", number)
        bridge.flush()
        assert descriptors() == before
