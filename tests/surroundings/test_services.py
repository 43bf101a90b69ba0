"""Services that load their application, client and all, before they fork."""

import http.client
import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from surroundings.launch import PROGRAMS, SECONDS, report_of

WORKERS = 2
REQUESTS = 40


def _get(port, execution_id):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", f"/{execution_id}")
        answer = connection.getresponse()
        return answer.status, int(answer.read())
    finally:
        connection.close()


def test_gunicorn_that_preloads_the_application(programs, serve):
    """The server gathers pairs: an answer needs both workers at work at the same time."""
    server = serve(gather=WORKERS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ("--preload", "--workers", WORKERS, "--bind", f"fd://{listener.fileno()}", "--log-level", "warning")
        gunicorn = programs.start(
            [sys.executable, "-m", "gunicorn", *options, "preloaded:application"],
            server,
            cwd=PROGRAMS,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
        with ThreadPoolExecutor(WORKERS) as pool:
            answers = list(pool.map(lambda number: _get(port, f"gather-{number}"), range(REQUESTS)))
    assert [status for status, _ in answers] == [200] * REQUESTS
    workers = {pid for _, pid in answers}
    assert len(workers) == WORKERS
    assert gunicorn.pid not in workers
    os.kill(gunicorn.pid, signal.SIGTERM)
    gunicorn.communicate(timeout=SECONDS)
    assert gunicorn.returncode == 0


@pytest.fixture
def celery(programs, serve, tmp_path):
    """Starts a Celery worker with a pool of forks; `ask` has a task run by it."""
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    folder = {"CELERY_FOLDER": str(tmp_path)}
    options = ("--pool", "prefork", "--concurrency", WORKERS, "--loglevel", "ERROR", "-Ofair")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    server = serve(gather=WORKERS)
    command = [sys.executable, "-m", "celery", "--app", "celery_service", "worker", *options, *quiet]
    worker = programs.start(command, server, folder, cwd=PROGRAMS)

    def ask(*arguments):
        command = [sys.executable, PROGRAMS / "celery_service.py", SECONDS / 2, *arguments]
        return report_of(programs.start(command, server, folder))

    yield SimpleNamespace(ask=ask, pid=worker.pid, server=server)
    os.kill(worker.pid, signal.SIGTERM)
    worker.communicate(timeout=SECONDS)
    assert worker.returncode == 0


def test_celery_with_a_pool_of_forks(celery):
    results = celery.ask()
    assert [result["right"] for result in results] == [True] * REQUESTS
    assert len({result["pid"] for result in results}) == WORKERS
    assert {result["warmed_by"] for result in results} == {celery.pid}


def test_the_soft_time_limit_of_a_celery_task_ends_a_wait_and_cancels_its_execution(celery):
    for number, (note,) in enumerate(celery.ask("wait"), start=1):
        assert note.startswith(f"the wait for execution running-{number} was interrupted by SoftTimeLimitExceeded")
    assert celery.server.cancelled == {"running-1": 1, "running-2": 1}


def test_a_running_event_loop(programs, server):
    assert programs.run("inside_a_loop", server) == {"here": 10, "beside": [10] * 4}


def test_a_jupyter_kernel(programs, server):
    notebook = programs.start([sys.executable, PROGRAMS / "notebook.py"], server)
    output, errors = notebook.communicate(timeout=SECONDS)
    assert notebook.returncode == 0, errors
    assert json.loads(output) == ["True", *(f"'output of notebook-{number}'" for number in (1, 2, 3))]
