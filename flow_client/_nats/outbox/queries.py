"""Queries to JetStream: they change nothing there, so they are repeated until one of them is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from flow_client._core.deadline import Deadline
from flow_client._nats.connection import ATTEMPT_TIMEOUT
from flow_client._nats.driver import read_error
from flow_client._nats.errors import NATS_ERRORS, text_of
from flow_client._nats.outbox.publication import UnconfirmedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nats.aio.client import Client
    from nats.js import JetStreamContext

ResultT = TypeVar("ResultT")

CHECK_INTERVAL = 0.05
"""Seconds between two checks of the connection: nats-py has ways of losing one without calling back."""
_REPEAT_INTERVAL = 0.25
"""Seconds after which a query is repeated: nobody ever answers one that was sent while the stream had no leader."""


async def ask_until_answered(
    client: Client, query: Callable[[JetStreamContext], Coroutine[Any, Any, ResultT]]
) -> ResultT:
    """Return the first answer.

    Args:
        client: the connection to ask over.
        query: sends the query once and returns its answer.

    Raises:
        UnconfirmedError: there was no answer, or the connection was lost.
    """
    js = client.jetstream(timeout=ATTEMPT_TIMEOUT)
    deadline = Deadline(ATTEMPT_TIMEOUT)
    asked: set[asyncio.Future[ResultT]] = set()
    failure: Exception | None = None
    try:
        while deadline.remaining() > 0:
            asked.add(asyncio.ensure_future(query(js)))
            pause = Deadline(_REPEAT_INTERVAL)
            for answer in await _answered(client, asked, pause):
                asked.remove(answer)
                try:
                    return answer.result()
                except NATS_ERRORS as error:
                    failure = error
                    await asyncio.sleep(max(pause.remaining(), 0))
    finally:
        for query_under_way in asked:
            query_under_way.add_done_callback(read_error)
            query_under_way.cancel()
    raise UnconfirmedError(_text(failure)) from failure


async def _answered(
    client: Client, asked: set[asyncio.Future[ResultT]], pause: Deadline
) -> set[asyncio.Future[ResultT]]:
    """Return the answered queries as soon as there is one; none if that takes longer than `pause`."""
    while pause.remaining() > 0:
        if client.is_closed:
            raise UnconfirmedError("the connection to NATS was lost")
        done, _ = await asyncio.wait(
            asked, timeout=min(CHECK_INTERVAL, max(pause.remaining(), 0)), return_when=asyncio.FIRST_COMPLETED
        )
        if done:
            return done
    return set()


def _text(failure: Exception | None) -> str:
    if failure is None:
        return f"NATS did not answer within {ATTEMPT_TIMEOUT:g} s"
    return text_of(failure)
