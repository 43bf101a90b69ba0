"""Handlers that worker processes are told to run."""

import sys
import time

from flow_client.worker import Result


def echo(task):
    return {"input": task.input_data, "session": task.session_id, "ids": [task.execution_id, task.deployment_id]}


def everything(task):
    task.emit("chunk", {"n": 1})
    task.emit("done", None)
    return Result("out", usage={"tokens": 3}, messages=[*task.messages, "m"], state={**task.state, "s": 1})


def fail(task):
    raise ValueError("the \udc80 is broken")


def leave(task):
    sys.exit(3)


def nan(task):
    return float("nan")


def too_large(task):
    return "x" * 2**21


async def coroutine(task):
    return None


def sleep(task):
    task.emit("message", "started")
    time.sleep(60)


def sleep_stubbornly(task):
    task.emit("message", "started")
    _sleep_whatever_happens(task)
    _sleep_whatever_happens(task)


def _sleep_whatever_happens(task):
    try:
        time.sleep(60)
    except BaseException:  # noqa: BLE001 - this is how stubborn a handler can be
        task.emit("message", "went on")


def wait_for_cancel(task):
    task.emit("message", "started")
    while not task.cancelled:
        time.sleep(0.01)
    return "tidied up"
