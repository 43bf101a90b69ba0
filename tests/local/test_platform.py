"""The local platform starts, survives the death of its parts, and leaves nothing behind."""

import os
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests
from support.processes import end

from flow_client.local import LocalPlatform, LocalPlatformError, SettingError
from flow_client.local.__main__ import main
from flow_client.local.nats_server import NatsServer

SECONDS = 60
"""How long anything may take: far longer than it does."""


@pytest.fixture(scope="module")
def platform(components, store):
    """A platform for all tests that leave it as it was: parts of it may be killed, if they are started again."""
    with LocalPlatform(components, store_dir=store, max_workers=2) as platform:
        yield platform


def submit(environment, component_id, data):
    url = (
        f"{environment['PLATFORM_API_URL']}/api/v1/orgs/{environment['ORG_ID']}"
        f"/workspaces/{environment['WORKSPACE_ID']}/workflows/{component_id}/executions"
    )
    body = {
        "input_data": data,
        "config": {},
        "lifecycle_event": "workflow",
        "ring_id": environment["RING_ID"],
        "timeout_seconds": 60,
    }
    headers = {"Authorization": f"Bearer {environment['AUTH_TOKEN']}"}
    answer = requests.post(url, json=body, headers=headers, timeout=SECONDS)
    assert answer.status_code == 202, answer.text
    return answer.json()["execution_id"]


def read(environment, execution_id):
    url = (
        f"{environment['PLATFORM_API_URL']}/api/v1/orgs/{environment['ORG_ID']}"
        f"/workspaces/{environment['WORKSPACE_ID']}/executions/{execution_id}"
    )
    headers = {"Authorization": f"Bearer {environment['AUTH_TOKEN']}"}
    answer = requests.get(url, headers=headers, timeout=SECONDS)
    return answer.json() if answer.ok else {"status": f"HTTP {answer.status_code}"}


def family(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def kill_command_of(guarded):
    (command,) = psutil.Process(guarded.guard_pid).children()
    command.kill()
    guarded.wait(SECONDS)


# --- what is left behind


def test_stop_leaves_no_process_and_no_temporary_folder(components, gone):
    before = set(family(os.getpid()))
    with LocalPlatform(components) as platform:
        store = Path(platform._settings.store)
        submit(platform.environment(), "sleep", {})
        time.sleep(0.5)
        pids = set(family(os.getpid())) - before
        assert len(pids) >= 6
        assert store.exists()
    assert gone(*pids)
    assert not store.exists()


def test_stop_can_be_called_twice_and_the_platform_started_again(components):
    platform = LocalPlatform(components)
    assert platform.start() is platform.start()
    platform.stop()
    platform.stop()
    with platform:
        assert requests.get(f"{platform.base_url}/openapi.json", timeout=SECONDS).ok


def test_stop_in_a_fork_leaves_the_platform_alone(platform):
    child = os.fork()
    if child == 0:
        platform.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert requests.get(f"{platform.base_url}/openapi.json", timeout=SECONDS).ok


def test_exception_in_the_block_ends_the_platform(components, gone):
    before = set(family(os.getpid()))
    pids = []

    def fail_inside():
        with LocalPlatform(components):
            pids.extend(set(family(os.getpid())) - before)
            raise LookupError

    with pytest.raises(LookupError):
        fail_inside()
    assert pids
    assert gone(*pids)


def test_platform_that_is_not_running_says_so(components):
    with pytest.raises(LocalPlatformError, match="is not running"):
        LocalPlatform(components).environment()


def test_port_in_use_is_an_error_before_anything_is_started(platform, components, gone):
    port = int(platform.base_url.rpartition(":")[2])
    before = set(family(os.getpid()))
    with pytest.raises(LocalPlatformError, match=rf"port {port} on 127.0.0.1 cannot be used: Address already in use"):
        LocalPlatform(components, port=port).start()
    assert gone(*set(family(os.getpid())) - before)


def test_nats_that_does_not_answer_is_an_error(components):
    with pytest.raises(LocalPlatformError, match=r"no NATS server answers at nats://127.0.0.1:1;") as caught:
        LocalPlatform(components, nats_url="nats://secret@127.0.0.1:1").start()
    assert "secret" not in str(caught.value)


def test_nats_that_refuses_the_connection_is_an_error(components, nats_server):
    wrong = f"nats://wrong@127.0.0.1:{nats_server.port}"
    with pytest.raises(SettingError, match=r"cannot connect to the NATS server: .*Authorization Violation") as caught:
        LocalPlatform(components, nats_url=wrong).start()
    assert "\n" not in str(caught.value)


def test_nats_without_jetstream_is_an_error(components, tmp_path):
    with NatsServer(tmp_path, settings={"jetstream": False}) as nats_server:
        platform = LocalPlatform(components, nats_url=nats_server.url)
        with pytest.raises(SettingError, match="JetStream is not available"):
            platform.start()


def test_service_that_does_not_start_is_an_error_with_its_log(components, tmp_path):
    (tmp_path / "logs").write_text("not a folder")
    with pytest.raises(LocalPlatformError, match=r"(?s)runner ended with exit code 1 .*FileExistsError"):
        LocalPlatform(components, store_dir=tmp_path).start()


def test_store_is_for_one_platform_at_a_time(platform, components, store):
    with pytest.raises(LocalPlatformError, match="is in use by another platform"):
        LocalPlatform(components, store_dir=store).start()
    assert requests.get(f"{platform.base_url}/openapi.json", timeout=SECONDS).ok


def test_given_nats_server_is_used(components, nats_server, eventually):
    with LocalPlatform(components, nats_url=nats_server.url) as platform:
        assert platform.nats is None
        environment = platform.environment()
        execution_id = submit(environment, "sleep", {"seconds": 0})
        assert eventually(lambda: read(environment, execution_id)["status"] == "completed")
    os.kill(nats_server.pid, 0)


def test_given_nats_server_may_take_larger_messages(components, tmp_path):
    with (
        NatsServer(tmp_path, max_payload=4 << 20) as nats_server,
        LocalPlatform(components, nats_url=nats_server.url) as platform,
        platform.client() as client,
    ):
        numbers = list(range(300_000))
        assert len(str(numbers)) > 1 << 20
        assert client.submit_workflow_execution("echo", {"numbers": numbers}).result(timeout=60) == {"numbers": numbers}


def test_output_and_event_over_the_limit_of_nats_fail_the_execution(platform):
    with platform.client() as client:
        for how in ("large-output", "large-event"):
            record = client.execute_workflow(how, {})
            assert (record.status, record.error["type"]) == ("failed", "PayloadTooLargeError")


# --- what survives


def test_executions_and_tokens_survive_a_restart_on_the_same_store(components, tmp_path, eventually):
    with LocalPlatform(components, store_dir=tmp_path) as platform:
        environment = platform.environment()
        execution_id = submit(environment, "sleep", {"seconds": 0})
        assert eventually(lambda: read(environment, execution_id)["status"] == "completed")
        record = read(environment, execution_id)
    with LocalPlatform(components, store_dir=tmp_path) as platform:
        again = {**environment, "PLATFORM_API_URL": platform.base_url}
        assert read(again, execution_id) == record


def test_execution_that_was_running_at_the_stop_runs_again(components, tmp_path, eventually):
    file = tmp_path / "file"
    with LocalPlatform(components, store_dir=tmp_path) as platform:
        environment = platform.environment()
        execution_id = submit(environment, "wait-for-file", {"file": str(file)})
        assert eventually(lambda: read(environment, execution_id)["status"] == "running")
    file.touch()
    with LocalPlatform(components, store_dir=tmp_path) as platform:
        again = {**environment, "PLATFORM_API_URL": platform.base_url}
        assert eventually(lambda: read(again, execution_id)["status"] == "completed")
        assert read(again, execution_id)["metrics"]["deliveries"] == 2


def test_killed_runner_loses_nothing(platform, tmp_path, eventually):
    file, environment = tmp_path / "file", platform.environment()
    execution_id = submit(environment, "wait-for-file", {"file": str(file)})
    assert eventually(lambda: read(environment, execution_id)["status"] == "running")
    kill_command_of(platform._runner)
    assert "runner ended with exit code 137" in str(platform.unexpected_end())
    file.touch()
    platform._start_runner()
    assert eventually(lambda: read(environment, execution_id)["status"] == "completed")
    assert read(environment, execution_id)["metrics"]["deliveries"] == 2


def test_killed_api_loses_nothing(platform, tmp_path, eventually):
    file, environment = tmp_path / "file", platform.environment()
    execution_id = submit(environment, "wait-for-file", {"file": str(file)})
    kill_command_of(platform._api)
    file.touch()
    time.sleep(0.5)  # the end comes, most of the time, while the API is away
    platform._start_api()
    assert platform.environment()["PLATFORM_API_URL"] == environment["PLATFORM_API_URL"]
    assert eventually(lambda: read(environment, execution_id)["status"] == "completed")


def test_killed_nats_server_loses_nothing(platform, tmp_path, eventually):
    file, environment = tmp_path / "file", platform.environment()
    execution_id = submit(environment, "wait-for-file", {"file": str(file)})
    assert eventually(lambda: read(environment, execution_id)["status"] == "running")
    platform.nats.kill()
    assert read(environment, execution_id)["status"] == "HTTP 503"
    file.touch()
    platform.nats.restart()
    assert eventually(lambda: read(environment, execution_id)["status"] == "completed")
    later = submit(environment, "sleep", {"seconds": 0})
    assert eventually(lambda: read(environment, later)["status"] == "completed")


def test_limit_of_workers_is_kept(platform, tmp_path, eventually):
    file, environment = tmp_path / "file", platform.environment()
    ids = [submit(environment, "wait-for-file", {"file": str(file)}) for _ in range(3)]
    assert eventually(lambda: [read(environment, i)["status"] for i in ids].count("running") == 2)
    assert [read(environment, i)["status"] for i in ids].count("queued") == 1
    file.touch()
    assert eventually(lambda: all(read(environment, i)["status"] == "completed" for i in ids))


# --- the command


@pytest.fixture
def command(components, tmp_path):
    """A function that starts the command; what is left of it is killed at the end of the test."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "flow_client.local", "--components", str(components), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


@pytest.fixture
def restored_signals():
    """Takes back the signals that the command handles when it runs in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def exports(process):
    environment = {}
    deadline = threading.Timer(SECONDS, process.kill)
    deadline.start()
    for line in process.stdout:
        words = shlex.split(line, comments=True)
        if words:
            name, _, value = words[1].partition("=")
            environment[name] = value
        if "Ctrl-C" in line:
            break
    deadline.cancel()
    return environment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_command_leaves_nothing_behind(command, tmp_path, gone, eventually, number):
    process = command()
    environment = exports(process)
    execution_id = submit(environment, "sleep", {})
    assert eventually(lambda: read(environment, execution_id)["status"] == "running")
    (store,) = tmp_path.glob("flow-local-*")
    pids = family(process.pid)
    assert len(pids) == 8, "a guard and a command for nats-server, API, runner and worker"
    process.send_signal(number)
    assert process.wait(SECONDS) == (-number if number == signal.SIGKILL else 0)
    assert process.stderr.read() == ""
    assert gone(*pids)
    assert store.exists() == (number == signal.SIGKILL)


def test_command_refuses_a_wrong_manifest_in_one_line(command, tmp_path):
    (tmp_path / "wrong.toml").write_text('[[component]]\nkind = "lambda"\n')
    process = command("--components", str(tmp_path / "wrong.toml"))
    assert process.wait(SECONDS) == 2
    said = process.stderr.read()
    assert said.startswith(f"{tmp_path / 'wrong.toml'}:2: kind is 'lambda'")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-workers", "0"], "max_workers is 0; it must be a whole number from 1 to 10000"),
        (["--max-workers", "many"], "argument --max-workers: invalid int value: 'many'"),
        (["--port", "99999"], "port is 99999; it must be a whole number from 0 to 65535"),
        (["--port", "1.5"], "argument --port: invalid int value: '1.5'"),
        (["--nats-url", "nats://127.0.0.1:1"], "no NATS server answers at nats://127.0.0.1:1"),
        (["--nats-url", "http://127.0.0.1"], "nats_url is not valid"),
        (["--store", "/proc/x"], "the store /proc/x cannot be used: No such file or directory"),
        (["--components", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["--ports", "1"], "unrecognized arguments: --ports"),
    ],
)
@pytest.mark.usefixtures("restored_signals")
def test_command_refuses_an_unusable_argument_in_one_line(components, capsys, arguments, said):
    try:
        code = main(["--components", str(components), *arguments])
    except SystemExit as error:  # by argparse
        code = error.code
    assert code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("service", ["api", "runner"])
@pytest.mark.parametrize("settings", [None, "{", "[]", '{"unknown": 1}'])
def test_service_that_was_started_by_hand_says_so_in_one_line(monkeypatch, capsys, service, settings):
    monkeypatch.delenv("FLOW_LOCAL_SETTINGS", raising=False)
    if settings is not None:
        monkeypatch.setenv("FLOW_LOCAL_SETTINGS", settings)
    with pytest.raises(SystemExit, match=r"^2$"):
        runpy.run_module(f"flow_client.local.{service}", run_name="__main__", alter_sys=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert "run `python -m flow_client.local --components FILE` instead" in line


def test_command_refuses_a_port_in_use_in_one_line(command, platform):
    port = platform.base_url.rpartition(":")[2]
    process = command("--port", port)
    assert process.wait(SECONDS) == 2
    error = process.stderr.read()
    assert f"port {port} on 127.0.0.1 cannot be used: Address already in use" in error
    assert error.count("\n") == 1


def test_command_ends_when_a_part_of_it_ends(command):
    process = command()
    exports(process)
    (runner,) = [
        p
        for p in psutil.Process(process.pid).children(recursive=True)
        if p.cmdline()[2:] == ["flow_client.local.runner"]
    ]
    runner.kill()
    assert process.wait(SECONDS) == 1
    assert "runner ended with exit code 137" in process.stderr.read()
