"""Calls a handler and turns what it returns, yields or raises into an output."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from flow_client._api.mapping import AnswerMapping
from flow_client.worker._failures import failure
from flow_client.worker._interrupts import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from flow_client.worker._task import Task

_ASYNC = "the handler is asynchronous (`async def`); make it a plain function, which may call asyncio.run()"

_ASYNC_CHECKS = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)


@dataclass(frozen=True)
class Result:
    """What a handler returns to set more than the output."""

    output: Any
    usage: Any = None
    messages: Any = None
    state: Any = None


def call(
    handler: Callable[[Task], Any] | str, task: Task, guard: AbstractContextManager[Any] | None = None
) -> dict[str, Any]:
    """Call a handler and return its output, whatever happens. The task is closed afterwards.

    Args:
        handler: the function, or its name as `package.module:name`.
        task: the handler's argument.
        guard: a context manager around the call.
    """
    try:
        with closing(task), guard or nullcontext():
            function = _load(handler) if isinstance(handler, str) else handler
            return _content(_returned(function, task))
    except (Interrupted, KeyboardInterrupt) as error:
        return failure(error, "Cancelled")
    except SystemExit as error:  # even with 0, since there is no output
        message = f"the handler called sys.exit({error.code!r}); use `return` to end a handler"
        return failure(error, "SystemExit", message)
    except BaseException as error:  # noqa: BLE001 - it is reported in the output
        return failure(error, type(error).__name__)


def _load(name: str) -> Callable[[Task], Any]:
    module, _, path = name.partition(":")
    function: Callable[[Task], Any] = attrgetter(path)(import_module(module))
    return function


def _returned(function: Callable[[Task], Any], task: Task) -> Any:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    if any(check(each) for check in _ASYNC_CHECKS for each in (function, called)):
        raise TypeError(_ASYNC)
    result: Any = function(task)
    if isinstance(result, Generator):
        return _streamed(result, task)
    if inspect.iscoroutine(result):
        result.close()
    if isinstance(result, AnswerMapping):  # it has `__await__` only to explain that it cannot be awaited
        return result
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        raise TypeError(_ASYNC)
    return result


def _streamed(steps: Generator[Any, None, Any], task: Task) -> Any:
    """Emit each item that the handler yields as a `chunk`, and return what it returns at the end."""
    with closing(steps):
        while True:
            try:
                item = next(steps)
            except StopIteration as end:
                return end.value
            task.emit("chunk", item)


def _content(result: Any) -> dict[str, Any]:
    if not isinstance(result, Result):
        result = Result(result)
    return {"output": result.output, "usage": result.usage, "messages": result.messages, "state": result.state}
