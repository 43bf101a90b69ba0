"""What happens to the outbox at a process's exit and after a fork."""

import os
import re
import subprocess
import sys
import time
import uuid

import pytest
from support.jetstream import MODES, create_streams, read_events
from support.processes import STRICT, without_slow_steps

from flow_client.local.nats_server import NatsServer


@pytest.fixture(scope="module", params=MODES)
def server(request, tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp(request.param)) as server:
        create_streams(server.url, request.param)
        yield server


UNCLOSED = "ignore:unclosed <NatsBridge:ResourceWarning"


def _run(script, nats_url, *arguments):
    done = subprocess.run(
        [*STRICT, "-W", UNCLOSED, "-c", script, *arguments],
        env={**os.environ, "NATS_URL": nats_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, without_slow_steps(done.stderr)


_EXIT = """
import gc, sys
from flow_client import NatsBridge

def push():
    bridge = NatsBridge()
    for number in range(2000):
        bridge.push_execution_event(None, sys.argv[1], "chunk", number)
    return bridge

if sys.argv[2] == "held":
    bridge = push()
else:
    push()
    gc.collect()
"""


@pytest.mark.parametrize("how", ["held", "dropped"])
def test_a_plain_exit_stores_everything(server, execution_id, how):
    assert _run(_EXIT, server.url, execution_id, how) == (0, "")
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == list(range(2000))


_EXIT_WITHOUT_SERVER = """
import logging, sys
from flow_client import NatsBridge

logging.basicConfig(level=logging.ERROR, format="%(message)s")
bridge = NatsBridge("nats://127.0.0.1:1", close_timeout=0.3)
for number in range(5):
    bridge.push_execution_event(None, sys.argv[1], "chunk", number)
"""


def test_an_exit_without_a_server_is_bounded_and_says_what_is_lost(server, execution_id):
    code, said = _run(_EXIT_WITHOUT_SERVER, server.url, execution_id)
    assert code == 0
    # "are" if the machine is so busy that the bridge's thread does not end in time.
    assert re.match("at exit: 5 messages (were|are) not stored", said)


_FORK = """
import os, signal, sys
from flow_client import NatsBridge

bridge = NatsBridge()
bridge.push_execution_event(None, sys.argv[1], "chunk", "before")
bridge.flush()
server = int(sys.argv[2])
os.kill(server, signal.SIGSTOP)  # what is pushed now is in the outbox when the process forks
for number in range(10):
    bridge.push_execution_event(None, sys.argv[1], "chunk", "parent")
child = os.fork()
if child == 0:
    assert bridge.stats().unacked == 0
    os.kill(server, signal.SIGCONT)
    bridge.push_execution_event(None, sys.argv[3], "chunk", "child")
    bridge.flush()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
bridge.flush()
"""


def test_a_child_has_an_empty_outbox_and_the_parents_stays_the_parents(server, execution_id):
    other = str(uuid.uuid4())
    assert _run(_FORK, server.url, execution_id, str(server.pid), other) == (0, "")
    assert [event["event_data"] for event in read_events(server.url, execution_id)] == ["before"] + ["parent"] * 10
    assert [event["event_data"] for event in read_events(server.url, other)] == ["child"]


_FIRST_PUSH_AT_EXIT = """
import atexit, sys

def push():
    from flow_client import NatsBridge
    NatsBridge().push_execution_event(None, sys.argv[1], "chunk", "last")

atexit.register(push)
"""


def test_the_first_push_of_a_process_at_its_exit_is_stored_or_refused(server, execution_id):
    code, said = _run(_FIRST_PUSH_AT_EXIT, server.url, execution_id)
    stored = [event["event_data"] for event in read_events(server.url, execution_id)]
    assert code == 0
    if sys.version_info[:2] == (3, 12):  # it starts no thread in a function of atexit
        assert stored == []
        assert "BridgeError: the background thread cannot be started" in said
        assert "the interpreter is exiting" in said
    else:
        assert (stored, said) == (["last"], "")


_MANY_AT_EXIT = """
import sys
from flow_client import NatsBridge

bridges = [NatsBridge("nats://127.0.0.1:1", close_timeout=2) for _ in range(16)]
for bridge in bridges:
    bridge.push_execution_event(None, sys.argv[1], "chunk", 1)
if sys.argv[2] == "dropped":
    del bridge, bridges
"""


@pytest.mark.parametrize("how", ["held", "dropped"])
def test_bridges_are_closed_together_at_exit_and_a_process_without_logging_says_once_what_is_lost(execution_id, how):
    started = time.monotonic()
    code, said = _run(_MANY_AT_EXIT, "nats://127.0.0.1:1", execution_id, how)
    assert code == 0
    assert time.monotonic() - started < 25  # one after another they would take 32 s
    (line,) = said.splitlines()
    assert line.startswith("flow_client: at exit: ")
    assert line.count("1 message ") == 16
