"""A zygote forks only while that is safe, ends its workers as it should, and takes them with it when it ends."""

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from flow_client.local import LocalPlatform

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has zygotes")

LIMIT = 30


class Zygote:
    """A zygote whose other side is the test. `module` is what it loads first."""

    def __init__(self, folder, module):
        self.folder = folder
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(LIMIT)
        self._lines = self._socket.makefile("rb")
        with theirs:
            command = [sys.executable, "-m", "flow_client.local.processes.zygote"]
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(folder), module], cwd=folder, pass_fds=[theirs.fileno()]
            )

    def say(self, **message):
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def hear(self):
        return json.loads(self._lines.readline())

    def order(self, module, *arguments, worker_id=1, **environment):
        order = {
            "module": module,
            "arguments": arguments,
            "environment": {**os.environ, **environment},
            "folder": str(self.folder),
            "log": str(self.folder / "log"),
        }
        self.say(id=worker_id, order=order)

    def run(self, module, *arguments, **environment):
        """Return the exit code of a worker and what it printed."""
        self.order(module, *arguments, **environment)
        assert self.hear()["pid"]
        return self.hear()["code"], self.printed()

    def printed(self):
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def hang_up(self):
        self._lines.close()
        self._socket.close()
        return self.process.wait(LIMIT)


@pytest.fixture
def write(tmp_path):
    """A function that writes a module into the folder of the zygote."""
    return lambda name, source: (tmp_path / f"{name}.py").write_text(source)


@pytest.fixture
def start(tmp_path):
    """A function that starts a zygote; it is gone at the end of the test."""
    started = []

    def start(module="json"):
        started.append(Zygote(tmp_path, module))
        return started[-1]

    yield start
    for zygote in started:
        zygote.hang_up()


@pytest.fixture
def zygote(start):
    zygote = start()
    assert zygote.hear() == {"ready": zygote.process.pid}
    return zygote


# --- when it forks


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "it has 2 threads"),
    ],
)
def test_a_zygote_with_a_second_thread_is_unfit(write, start, source, reason):
    write("loaded", source)
    assert start("loaded").hear() == {"unfit": reason}


def test_a_zygote_refuses_to_fork_when_code_that_it_loaded_was_changed(write, start):
    write("loaded", "")
    write("worker", "print('here')")
    zygote = start("loaded")
    assert "ready" in zygote.hear()
    assert zygote.run("worker") == (0, "here\n")
    write("loaded", "changed = True")
    zygote.order("worker")
    assert zygote.hear() == {"id": 1, "unfit": f"{zygote.folder / 'loaded.py'} has changed"}


def test_a_zygote_refuses_to_fork_when_something_opened_a_descriptor(write, start):
    # The alarm comes while the zygote waits for orders.
    source = "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os.pipe())\n"
    write("loaded", source)
    write("worker", "print('here')")
    zygote = start("loaded")
    assert "ready" in zygote.hear()
    assert zygote.run("worker")[0] == 0
    zygote.process.send_signal(signal.SIGALRM)
    zygote.order("worker")
    assert "its descriptors are" in zygote.hear()["unfit"]


# --- how a worker ends


@pytest.mark.parametrize(
    ("source", "code", "printed"),
    [
        ("", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no good')", 1, "no good\n"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("import atexit\natexit.register(print, 'at exit')", 0, "at exit\n"),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()",
            0,
            "thread\n",
        ),
        ("from concurrent.futures import ThreadPoolExecutor as T\nT(1).submit(print, 'pool')", 0, "pool\n"),
        ("file = open(1, 'w', closefd=False)\nfile.write('not flushed')", 0, "not flushed"),
        ("import sys\nprint(sys.argv, __name__, __file__ == sys.argv[0])", 0, "[{file!r}, 'a'] __main__ True\n"),
        ("import os\nprint(os.environ['OWN'], os.getcwd())", 0, "value {folder}\n"),
    ],
)
def test_a_worker_ends_as_an_interpreter_does(zygote, write, source, code, printed):
    write("worker", source)
    expected = printed.format(file=str(zygote.folder / "worker.py"), folder=zygote.folder)
    assert zygote.run("worker", "a", OWN="value") == (code, expected)
    alone = subprocess.run(
        [sys.executable, "-m", "worker", "a"],
        cwd=zygote.folder,
        env={**os.environ, "OWN": "value"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (alone.returncode % 256, alone.stdout) == (-9 % 256 if code == 137 else code, expected)


def test_an_exception_is_printed_and_is_exit_code_1(zygote, write):
    write("worker", "raise LookupError('it is gone')")
    code, printed = zygote.run("worker")
    assert code == 1
    assert printed.endswith("LookupError: it is gone\n")


def test_a_folder_that_is_gone_is_reported(zygote):
    zygote.say(
        id=1,
        order={"module": "json", "arguments": [], "environment": {}, "folder": "/nowhere", "log": "/dev/null"},
    )
    assert zygote.hear()["pid"]
    assert zygote.hear() == {"id": 1, "code": 1}


def test_a_worker_gets_sigterm_and_after_the_grace_sigkill(zygote, write, eventually):
    write(
        "worker", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    )
    zygote.order("worker")
    assert zygote.hear()["pid"]
    assert eventually(zygote.printed)
    zygote.say(id=1, grace=0.3)
    assert zygote.hear() == {"id": 1, "code": 137}


def test_what_a_worker_started_ends_with_it(zygote, write, gone):
    write("worker", "import os, time\nchild = os.fork()\nif child: print(child)\nelse: time.sleep(600)")
    code, child = zygote.run("worker")
    assert code == 0
    assert gone(int(child))


# --- how it ends


SLEEPER = "import os, time\nprint(os.getpid(), os.fork(), flush=True)\ntime.sleep(600)"


def test_a_zygote_kills_its_workers_when_the_other_side_hangs_up(zygote, write, eventually, gone):
    write("worker", SLEEPER)
    zygote.order("worker")
    assert eventually(lambda: zygote.printed().count("\n") == 2)
    pids = {int(word) for word in zygote.printed().split()} - {0}
    assert zygote.hang_up() == 0
    assert gone(*pids)


def test_a_worker_does_not_outlive_its_killed_zygote(zygote, write, eventually, gone):
    write("worker", "import time\nprint('here', flush=True)\ntime.sleep(600)")
    zygote.order("worker")
    pid = zygote.hear()["pid"]
    assert eventually(zygote.printed)
    zygote.process.kill()
    assert gone(pid)


# --- on the platform


@pytest.fixture(scope="module")
def platform(components):
    with LocalPlatform(components, max_workers=2) as platform:
        yield platform


def zygotes(platform):
    """Return the zygotes of the platform's runner."""
    descendants = psutil.Process(platform._runner.guard_pid).children(recursive=True)
    running = [each for each in descendants if each.status() != psutil.STATUS_ZOMBIE]
    commands = [(each, each.cmdline()) for each in running]
    return [each for each, command in commands if "flow_client.local.processes.zygote" in command]


def is_forked(client, platform):
    record = client.execute_workflow("traces", {}, ring_id=platform.ring_id)
    return record.raise_for_status().output["leads_session"]


def test_a_killed_zygote_loses_nothing_and_is_replaced(platform, client, tmp_path, eventually, gone):
    pids = tmp_path / "pids"
    handle = client.submit_workflow_execution("spawn", {"pids": str(pids), "seconds": 1}, ring_id=platform.ring_id)
    assert eventually(lambda: pids.exists() and pids.read_text().endswith("\n"))
    first = pids.read_text()
    zygotes(platform)[0].kill()
    record = handle.wait(timeout=60)
    assert (record.status, record.metrics["deliveries"]) == ("completed", 2)
    assert pids.read_text() != first
    assert gone(*map(int, first.split()))
    assert is_forked(client, platform)


def test_components_with_variables_of_their_own_have_a_zygote_of_their_own(platform, client):
    record = client.execute_code_block("environment", {}, context=None)
    assert record.raise_for_status().output["MODEL"] == "small"
    assert len({each.environ().get("MODEL") for each in zygotes(platform)}) == 2


def test_nothing_outlives_a_killed_runner(platform, client, tmp_path, eventually, gone):
    pids = tmp_path / "pids"
    client.submit_workflow_execution("spawn", {"pids": str(pids), "seconds": 1}, ring_id=platform.ring_id)
    assert eventually(lambda: pids.exists() and pids.read_text().endswith("\n"))
    first, before = pids.read_text(), [each.pid for each in zygotes(platform)]
    (runner,) = psutil.Process(platform._runner.guard_pid).children()
    runner.kill()
    platform._runner.wait(5)
    assert gone(*before, *map(int, first.split()))
    platform._start_runner()
    assert is_forked(client, platform)
