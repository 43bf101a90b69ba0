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


def chatter_and_sleep(task):
    task.emit("chunk", 0)
    time.sleep(task.input_data.get("seconds", 5))
    return "rested"


def environment(task):
    return dict(os.environ)


def arguments(task):
    return {"argv": sys.orig_argv, "folder": str(Path.cwd())}


def fail(task):
    raise ValueError(f"no such text: {task.input_data}")


def flaky(task):
    """Fail for every third number until a file is there."""
    number = task.input_data["number"]
    if number % 3 == 0 and not Path(task.input_data["mended"]).exists():
        raise ValueError(f"bad number {number}")
    return number


def talk(_task):
    sys.stdout.write("said\n")


def talk_and_fail(task):
    sys.stdout.write("x" * 20_000)
    sys.stderr.write("the last words\n")
    sys.stderr.flush()
    raise ValueError(task.input_data)


def talk_and_sleep(task):
    sys.stdout.write("going to bed\n")
    time.sleep(60)


def crash(task):
    sys.stdout.write("going down")  # no line, and not flushed
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


def wait_for_file(task):
    file = Path(task.input_data["file"])
    while not file.exists():
        time.sleep(0.02)
    return "seen"


def spawn(task):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    Path(task.input_data["pids"]).write_text(f"{os.getpid()} {child}\n", encoding="ascii")
    time.sleep(task.input_data.get("seconds", 600))


def nest(task):
    """Run as many executions inside each other as `levels` says, and return how many there were."""
    levels = task.input_data["levels"]
    if levels == 1:
        return 1
    record = task.client.execute_workflow("nest", {"levels": levels - 1}, ring_id=os.environ["RING_ID"])
    return 1 + record.raise_for_status().output


def add_inline(task):
    return task.client.execute_transform("total", task.input_data["numbers"], None)


def crowd(task):
    """Return how many workers of this component run now."""
    here = Path(task.input_data["folder"]) / str(os.getpid())
    here.touch()
    time.sleep(task.input_data.get("seconds", 0.1))
    count = len(list(here.parent.iterdir()))
    here.unlink()
    return count


def echo(task):
    time.sleep(task.input_data.get("seconds", 0))
    return task.input_data


def large_output(task):
    return "x" * (1 << 21)


def large_event(task):
    task.emit("chunk", "x" * (1 << 21))


def answer(task):
    return {"text": f"Hello {task.input_data.get('name', 'you')}"}


def total(task):
    return sum(task.input_data)


def configuration(task):
    return task.config


def stream(task):
    yield from task.input_data["words"]
    return len(task.input_data["words"])
