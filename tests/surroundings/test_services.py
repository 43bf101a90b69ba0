"""Services that load their application, client and all, before they fork."""

import http.client
import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

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


def test_celery_with_a_pool_of_forks(programs, serve, tmp_path):
    server = serve(gather=WORKERS)
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    folder = {"CELERY_FOLDER": str(tmp_path)}
    options = ("--pool", "prefork", "--concurrency", WORKERS, "--loglevel", "ERROR", "-Ofair")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    service = [sys.executable, "-m", "celery", "--app", "celery_service", "worker", *options, *quiet]
    worker = programs.start(service, server, folder, cwd=PROGRAMS)
    asking = programs.start([sys.executable, PROGRAMS / "celery_service.py", SECONDS / 2], server, folder)
    results = report_of(asking)
    assert [result["right"] for result in results] == [True] * REQUESTS
    assert len({result["pid"] for result in results}) == WORKERS
    assert {result["warmed_by"] for result in results} == {worker.pid}
    os.kill(worker.pid, signal.SIGTERM)
    worker.communicate(timeout=SECONDS)
    assert worker.returncode == 0


def test_a_running_event_loop(programs, server):
    assert programs.run("inside_a_loop", server) == {"here": 10, "beside": [10] * 4}


def test_a_jupyter_kernel(programs, server):
    notebook = programs.start([sys.executable, PROGRAMS / "notebook.py"], server)
    output, errors = notebook.communicate(timeout=SECONDS)
    assert notebook.returncode == 0, errors
    assert json.loads(output) == ["True", *(f"'output of notebook-{number}'" for number in (1, 2, 3))]
