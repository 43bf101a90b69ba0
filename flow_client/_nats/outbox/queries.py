"""Questions to JetStream: they change nothing there, and are asked again until one of them is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from flow_client._core.deadline import Deadline
from flow_client._nats.connection import ATTEMPT_TIMEOUT, FOREIGN, read_error
from flow_client._nats.outbox.publication import DoubtError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nats.aio.client import Client
    from nats.js import JetStreamContext

ResultT = TypeVar("ResultT")

LOOK = 0.05
"""Seconds between two looks at the connection: nats-py does not call back on each of its ways to lose one."""
# Nobody answers what was asked while there was no leader. What is asked again is answered as soon as there is one.
_ASK_AGAIN = 0.25


async def ask(client: Client, question: Callable[[JetStreamContext], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Return the first answer.

    Raises:
        DoubtError: there is none, or the connection was lost.
    """
    js = client.jetstream(timeout=ATTEMPT_TIMEOUT)
    deadline = Deadline(ATTEMPT_TIMEOUT)
    asked: set[asyncio.Future[ResultT]] = set()
    failure: Exception | None = None
    try:
        while deadline.remaining() > 0:
            asked.add(asyncio.ensure_future(question(js)))
            pause = Deadline(_ASK_AGAIN)
            for answer in await _answered(client, asked, pause):
                asked.remove(answer)
                try:
                    return answer.result()
                except FOREIGN as exc:
                    failure = exc
                    await asyncio.sleep(max(pause.remaining(), 0))
    finally:
        for question_under_way in asked:
            question_under_way.add_done_callback(read_error)
            question_under_way.cancel()
    raise DoubtError(_text(failure)) from failure


async def _answered(
    client: Client, asked: set[asyncio.Future[ResultT]], pause: Deadline
) -> set[asyncio.Future[ResultT]]:
    """Return what is answered as soon as anything is, nothing if that takes longer than the pause."""
    while pause.remaining() > 0:
        if client.is_closed:
            raise DoubtError("the connection to NATS was lost")
        done, _ = await asyncio.wait(
            asked, timeout=min(LOOK, max(pause.remaining(), 0)), return_when=asyncio.FIRST_COMPLETED
        )
        if done:
            return done
    return set()


def _text(failure: Exception | None) -> str:
    if failure is None:
        return f"NATS did not answer within {ATTEMPT_TIMEOUT:g} s"
    return str(failure) or type(failure).__name__
