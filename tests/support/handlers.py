"""Handlers that worker processes are told to run."""

import asyncio
import ctypes
import functools
import logging
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


def leave_in_good_order(task):
    sys.exit(0)


def stream(task):
    for word in task.input_data:
        yield {"word": word}
    return Result(len(task.input_data), usage={"words": len(task.input_data)})


def stream_of_another(task):
    return stream(task)


def stream_without_an_end(task):
    yield 1


def stream_that_fails(task):
    try:
        yield "first"
        yield "second"
        raise ValueError("midway")
    finally:
        task.emit("message", "tidied up")


def stream_of_nonsense(task):
    try:
        yield {"fine": 1}
        yield {"layers": [1, object()]}
    finally:
        task.emit("message", "tidied up")


def stream_for_ever(task):
    try:
        while True:
            yield "again"
            time.sleep(0.01)
    finally:
        task.emit("message", "tidied up")


def no_form(task):
    return {"cfg": {"layers": [1, sys.stdout]}}


class Broken:
    def tolist(self):
        raise LostDeviceError("the device is lost")


class LostDeviceError(Exception):
    pass


def broken_output(task):
    return Broken()


def iterator(task):
    return Result("fine", usage=map(str, [1]))


async def async_stream(task):
    task.emit("message", "it ran")
    yield 1


async def _later(task):
    return 1


class AsyncCallable:
    async def __call__(self, task):
        return 1


async_callable = AsyncCallable()
async_partial = functools.partial(_later)


def async_inside(task):
    return asyncio.run(_later(task))


def returns_a_coroutine(task):
    return _later(task)


def config(task):
    return task.config


def log(task):
    logging.getLogger("mine").info("as you like it")


def crash(task):
    print("step 1")  # noqa: T201 - that is what is tested
    ctypes.string_at(0)


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
