"""What importing and using the HTTP half loads: counted in a process of its own."""

import subprocess
import sys

HEAVY = ("requests", "urllib3", "pydantic", "tenacity", "asyncio", "nats", "ssl")


def loaded_after(code):
    report = f"{code}\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import flow_client") == []


def test_the_errors_load_nothing_heavy():
    assert loaded_after("from flow_client import PlatformClientError, ExecutionWaitTimeout") == []


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
