"""Storms of signals on a bridge whose server is restarted now and then, and what has become of the events.

In tests/: python -m surroundings.storms [STORMS] [SECONDS]
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path

from support.jetstream import create_streams, read_events

from flow_client.local.nats_server import NatsServer

PROGRAM = Path(__file__).parent / "programs" / "bridge_storm.py"
SPARE_SECONDS = 90
OK = {"freezes": 0, "lost": 0, "repeated": 0, "reordered": 0, "gaps": 0, "undelivered": 0}


def storm(folder, seconds, seed):
    """Let one storm blow; return what went wrong, by kind, and what the program counted."""
    execution_id, over = str(uuid.uuid4()), threading.Event()
    with NatsServer(folder) as server:
        create_streams(server.url)
        program = subprocess.Popen(
            [sys.executable, str(PROGRAM), execution_id, str(seconds), str(seed)],
            env={**os.environ, "NATS_URL": server.url},
            stdout=subprocess.PIPE,
            text=True,
        )
        restarting = threading.Thread(target=_restart, args=(server, random.Random(seed), over))
        restarting.start()
        try:
            output, _ = program.communicate(timeout=seconds + SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            output, _ = program.communicate()
        finally:
            over.set()
            restarting.join()
        if program.returncode != 0:
            return {**OK, "freezes": 1}, {}
        report = json.loads(output)
        events = read_events(server.url, execution_id)
        return judge(report, events), {"events": len(events), **report["counts"], "restarts": restarting.count}


def _restart(server, pauses, over):
    threading.current_thread().count = 0
    while not over.wait(pauses.uniform(0.5, 3)):
        server.kill()
        over.wait(pauses.uniform(0, 0.3))
        server.start()
        threading.current_thread().count += 1


def judge(report, events):
    """Return how many events are not what the program was promised."""
    found = {"main": [], "handler": []}
    for event in events:
        writer, number = event["event_data"]
        found[writer].append(number)
    return {
        "freezes": 0,
        "lost": sum(len(set(report[writer]) - set(found[writer])) for writer in found),
        "repeated": sum(len(numbers) - len(set(numbers)) for numbers in found.values()),
        "reordered": sum(numbers != sorted(numbers) for numbers in found.values()),
        "gaps": [event["sequence"] for event in events] != list(range(1, len(events) + 1)),
        "undelivered": report["counts"]["undelivered"],
    }


def main(storms=5, seconds=60.0):
    for seed in range(int(storms)):
        with tempfile.TemporaryDirectory() as folder:
            print(seed, *storm(Path(folder), float(seconds), seed), flush=True)  # noqa: T201 - it is a program too


if __name__ == "__main__":
    main(*sys.argv[1:])
