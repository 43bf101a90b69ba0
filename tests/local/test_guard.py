"""A guarded command ends with its starter, and takes its descendants with it."""

import os
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.processes import end

from flow_client.local.processes.guarded import GuardedProcess

SECONDS = 30
"""How long anything may take that no grace holds up."""
# Prints its own process id and that of a child in the same group, and sleeps in both.
FAMILY = [
    sys.executable,
    "-c",
    "import os, time\nchild = os.fork()\nif child: print(os.getpid(), child, flush=True)\ntime.sleep(600)",
]
STUBBORN = [
    sys.executable,
    "-c",
    "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\ntime.sleep(600)",
]
STARTER = """
import os, sys, time
from pathlib import Path
from flow_client.local.processes.guarded import GuardedProcess
process = GuardedProcess(sys.argv[3:], log=Path(sys.argv[1]), grace=100, orphan_grace=float(sys.argv[2]))
print(process.guard_pid, flush=True)
{then}
time.sleep(600)
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def printed(log, eventually):
    """A function that returns the numbers that the command prints when it has started."""

    def read():
        assert eventually(lambda: log.exists() and log.read_text().endswith("\n")), "the command did not start"
        return [int(word) for word in log.read_text().split()]

    return read


@pytest.fixture
def starter(log):
    """A process that starts a guarded command; it is killed at the end of the test, if it is still there."""
    started = []

    def start(command, orphan_grace=5.0, then=""):
        source = STARTER.format(then=then)
        process = subprocess.Popen(
            [sys.executable, "-c", source, str(log), str(orphan_grace), *command], stdout=subprocess.PIPE
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        end(process)


@pytest.mark.parametrize(("script", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_exit_code_is_the_commands(log, script, code):
    assert GuardedProcess([sys.executable, "-c", script], log=log).wait(SECONDS) == code


def test_command_that_does_not_exist_is_reported_in_the_log(log):
    assert GuardedProcess(["/no/such/command"], log=log).wait(SECONDS) == 127
    assert "/no/such/command: " in log.read_text()


def test_stop_ends_the_whole_group(log, printed, gone):
    process = GuardedProcess(FAMILY, log=log)
    family = printed()
    assert process.stop() == 128 + signal.SIGTERM
    assert gone(*family)


def test_stop_kills_what_ignores_sigterm_after_the_grace(log, printed, gone):
    process = GuardedProcess(STUBBORN, log=log, grace=0.3, orphan_grace=2 * SECONDS)
    pids = printed()
    before = time.monotonic()
    assert process.stop() == 128 + signal.SIGKILL
    assert 0.3 <= time.monotonic() - before < SECONDS
    assert gone(*pids)


def test_kill_does_not_wait_for_the_grace(log, printed):
    process = GuardedProcess(STUBBORN, log=log, grace=2 * SECONDS)
    printed()
    process.kill()
    assert process.wait(SECONDS) == 128 + signal.SIGKILL


def test_what_a_command_leaves_behind_in_its_group_is_killed(log, printed, gone):
    script = "import os, time\nchild = os.fork()\nif child: print(child, flush=True)\nelse: time.sleep(600)"
    assert GuardedProcess([sys.executable, "-c", script], log=log).wait(SECONDS) == 0
    assert gone(*printed())


def test_killed_starter_takes_all_with_it(log, starter, printed, gone):
    process, guard = starter(FAMILY)
    family = printed()
    process.kill()
    process.wait()
    assert gone(guard, *family)


def test_killed_starter_with_no_orphan_grace_leaves_no_time_to_react(log, starter, printed, gone):
    process, guard = starter(STUBBORN, orphan_grace=0)
    pids = printed()
    process.kill()
    process.wait()
    before = time.monotonic()
    assert gone(guard, *pids)
    assert time.monotonic() - before < SECONDS


def test_fork_of_the_starter_does_not_keep_the_command_alive(log, starter, printed, gone):
    process, guard = starter(FAMILY, then="if os.fork() == 0: print(os.getpid(), flush=True)")
    fork = int(process.stdout.readline())
    family = printed()
    process.kill()
    process.wait()
    try:
        assert gone(guard, *family)
        assert psutil.pid_exists(fork), "the fork was to hold the pipe open"
    finally:
        os.kill(fork, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_killed_guard_takes_the_command_with_it(log, printed, gone):
    process = GuardedProcess(STUBBORN, log=log)
    pids = printed()
    os.kill(process.guard_pid, signal.SIGKILL)
    assert process.wait(SECONDS) == 128 + signal.SIGKILL
    assert gone(*pids)


def test_ctrl_c_reaches_only_the_starter(log, printed):
    process = GuardedProcess(FAMILY, log=log)
    printed()
    assert os.getpgid(process.guard_pid) != os.getpgrp()
    assert os.getsid(process.guard_pid) != os.getsid(0)
    process.kill()
    process.wait(SECONDS)


def test_guard_costs_little_more_than_the_start_of_a_bare_interpreter(log):
    def seconds(command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(5):
            command()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def interpreter():
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)

    def guarded():
        GuardedProcess(["/bin/true"], log=log).wait()

    assert seconds(guarded) < 6 * seconds(interpreter)
