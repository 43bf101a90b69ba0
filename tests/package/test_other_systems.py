"""Windows and macOS by construction: outside of `flow_client.local` nothing needs POSIX."""

import json
import subprocess
from pathlib import Path

from support.processes import STRICT, without_slow_steps

PROGRAM = Path(__file__).parent / "programs" / "without_posix.py"


def test_without_posix_everything_can_be_imported_and_client_bridge_and_worker_work(http_server, bus, execution_id):
    bus.put_input(execution_id, json.dumps({"execution_id": execution_id}).encode())
    command = [*STRICT, PROGRAM, http_server.url, bus.url, execution_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, without_slow_steps(done.stderr)) == (0, "")
    *_, last = done.stdout.splitlines()
    report = json.loads(last)
    assert {"flow_client.client", "flow_client.bridge", "flow_client.worker"} <= set(report["imported"])
    assert report["found"] == ["completed", "completed", "completed", 0, ["done"], 0]
