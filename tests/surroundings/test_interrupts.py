"""Ctrl-C lands at once, and the client goes on working."""

import json
import os
import signal
import time

import pytest
from surroundings.launch import SECONDS

WAYS = {"request": ("hole-1", 1), "back-off": ("busy-1", 1), "wait": ("running-1", 4), "held wait": ("hole-1", 1)}


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_lands_at_once_and_the_client_is_usable_afterwards(programs, server, way):
    execution_id, times = WAYS[way]
    program = programs.launch("interrupted", server, way)
    assert server.wait_for(execution_id, times)
    if way == "back-off":
        assert "the next in 30.00 s" in program.stdout.readline()
    time.sleep(0.2)
    sent = time.monotonic()
    os.kill(program.pid, signal.SIGINT)
    output, errors = program.communicate(timeout=SECONDS)
    assert (program.returncode, errors) == (0, "")
    report = json.loads(output)
    assert report["usable"]
    assert report["interrupted"] - sent < 5


def test_interrupts_at_any_point_mix_up_no_answers_and_hold_no_lock(programs, server):
    program = programs.launch("interrupted_often", server)
    output, errors = program.communicate(timeout=SECONDS)
    assert program.returncode == 0, errors
    report = json.loads(output)
    assert (report["wrong"], report["usable"], report["threads"]) == ([], 10, 1)
    assert report["more_files"] < 10
