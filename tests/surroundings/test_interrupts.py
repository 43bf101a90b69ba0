"""Ctrl-C lands at once, and the client goes on working."""

import json
import os
import re
import signal
import time

import pytest
from support.size import few
from surroundings.launch import SECONDS

WAYS = {"request": ("hole-1", 1), "back-off": ("busy-1", 1), "wait": ("running-1", 4), "held wait": ("hole-1", 1)}
DETACHED = ["handle's wait", "code block"]
CANCELLED = [
    *("handle's wait, cancel", "handle's result, cancel", "await, cancel"),
    *("code block, cancel", "workflow, cancel", "agent, cancel"),
]


def interrupted(program):
    """Send Ctrl-C; return what was logged, the program's report and the seconds that it took to come through."""
    time.sleep(0.2)
    sent = time.monotonic()
    os.kill(program.pid, signal.SIGINT)
    output, errors = program.communicate(timeout=SECONDS)
    assert (program.returncode, errors) == (0, "")
    *lines, last = output.splitlines()
    report = json.loads(last)
    assert report["usable"]
    return lines, report, report["interrupted"] - sent


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_lands_at_once_and_the_client_is_usable_afterwards(programs, server, way):
    execution_id, times = WAYS[way]
    program = programs.launch("interrupted", server, way)
    assert server.wait_for(execution_id, times)
    if way == "back-off":
        assert re.search(r"the next in 3\d\.\d\d s", program.stdout.readline())
    *_, seconds = interrupted(program)
    assert seconds < 10


@pytest.mark.parametrize("way", [*DETACHED, *CANCELLED])
def test_ctrl_c_in_a_wait_says_what_becomes_of_the_execution_and_cancels_it_only_if_told_to(programs, server, way):
    program = programs.launch("interrupted", server, way)
    assert server.wait_for("running-1", 3)
    lines, report, seconds = interrupted(program)
    ending = "its cancellation is asked for" if way in CANCELLED else "it goes on"
    (line,) = lines
    assert line.startswith(f"the wait for execution running-1 was interrupted; {ending}")
    assert line.endswith("client.execution('running-1').wait()")
    assert report["notes"] == [line]
    assert server.cancelled == ({"running-1": 1} if way in CANCELLED else {})
    assert seconds < 10


def test_a_cancellation_that_hangs_does_not_hold_ctrl_c_for_long(programs, server):
    program = programs.launch("interrupted", server, "held wait, cancel")
    assert server.wait_for("hole-1")
    _, _, seconds = interrupted(program)
    assert server.cancelled == {"hole-1": 1}
    assert seconds < 20


def test_ctrl_c_at_a_future_leaves_its_thread_alone(programs, server):
    program = programs.launch("interrupted", server, "future")
    assert server.wait_for("running-1", 3)
    lines, _, seconds = interrupted(program)
    assert lines == []
    assert seconds < 10


def test_ctrl_c_in_a_map_says_what_is_in_flight(programs, server):
    program = programs.launch("interrupted", server, "map")
    assert server.wait_for("running-2", 3)
    lines, _, seconds = interrupted(program)
    (line,) = lines
    assert line.startswith("map stopped with 2 executions in flight; nothing was cancelled")
    assert line.endswith("client.execution(): running-1, running-2")
    assert seconds < 10


@pytest.mark.soak
def test_interrupts_at_any_point_mix_up_no_answers_and_hold_no_lock(programs, server):
    program = programs.launch("interrupted_often", server, str(few(300, of=1500)))
    output, errors = program.communicate(timeout=SECONDS)
    assert program.returncode == 0, errors
    report = json.loads(output)
    assert (report["wrong"], report["usable"], report["threads"]) == ([], 10, 1)
    assert report["more_files"] < 10
