"""A Celery application whose client was used before the pool forked; run as a program it asks for tasks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from answers import count_right, is_right, report
from celery import Celery, group
from celery.exceptions import SoftTimeLimitExceeded

from flow_client import PlatformClient

TASKS = 40
FOLDER = Path(os.environ["CELERY_FOLDER"])

app = Celery("celery_service", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
    "polling_interval": 0.05,
}
app.conf.broker_connection_retry_on_startup = True

client = PlatformClient()
count_right(client, "warm", 3)
warmed_by = os.getpid()


@app.task(name="read")
def read(execution_id: str) -> dict[str, object]:
    return {"right": is_right(client, execution_id), "pid": os.getpid(), "warmed_by": warmed_by}


@app.task(name="wait", soft_time_limit=1)
def wait(execution_id: str) -> list[str]:
    """Wait for longer than the task may, and return what the client says of it."""
    try:
        client.execution(execution_id).wait(on_interrupt="cancel")
    except SoftTimeLimitExceeded as limit:
        return getattr(limit, "__notes__", [])
    return ["it was never told"]


if __name__ == "__main__":
    reads = [read.s(f"gather-{number}") for number in range(TASKS)]
    waits = [wait.s("running-1"), wait.s("running-2")]
    tasks = waits if sys.argv[2:] == ["wait"] else reads
    report(group(tasks).apply_async().get(timeout=float(sys.argv[1]), interval=0.05))
