"""Components that end in every way an execution can end."""

import os
import signal
import sys
import time
from pathlib import Path


def count_words(task):
    return {"words": len(task.input_data["text"].split())}


def chatter(task):
    for number in range(task.input_data.get("events", 3)):
        task.emit("chunk", number)
    return "said"


def environment(task):
    return dict(os.environ)


def arguments(task):
    return {"argv": sys.orig_argv, "folder": str(Path.cwd())}


def fail(task):
    raise ValueError(f"no such text: {task.input_data}")


def crash(task):
    sys.stdout.write("going down\n")
    sys.stdout.flush()
    os._exit(3)


def crash_once(task):
    marker = Path(task.input_data["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second time lucky"


def sleep(task):
    time.sleep(task.input_data.get("seconds", 60))
    return "rested"


def spawn(task):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    Path(task.input_data["pids"]).write_text(f"{os.getpid()} {child}\n", encoding="ascii")
    time.sleep(task.input_data.get("seconds", 600))


def answer(task):
    return {"text": f"Hello {task.input_data.get('name', 'you')}"}


def total(task):
    return sum(task.input_data)
