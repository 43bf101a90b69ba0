"""Questions to NATS that nobody answers at first, or ever."""

import asyncio
import contextlib

import nats
import pytest

from flow_client._nats.outbox.publication import UnconfirmedError
from flow_client._nats.outbox.queries import ask_until_answered
from flow_client.local.nats_server import NatsServer

SUBJECT = "question"
# A question is asked every 0.25 s, for 2 s.
MOST_TIMES = 9


@pytest.fixture
def server(tmp_path):
    with NatsServer(tmp_path) as running:
        yield running


class _Questioner:
    """Asks, and answers itself from the `from_the`-th time on: never if that is None; if it is 0 nobody listens."""

    def __init__(self, server, from_the):
        self._server = server
        self._from_the = from_the
        self.times = 0

    async def ask(self, meanwhile=None):
        """Return the answer; `meanwhile` is called in between."""
        async with await self._connected() as client, await self._connected() as other:
            if self._from_the != 0:
                await other.subscribe(SUBJECT, cb=self._respond)
                await other.flush()
            if meanwhile is not None:
                asyncio.get_running_loop().call_later(0.4, meanwhile)
            return await ask_until_answered(client, lambda _js: self._question(client))

    async def _connected(self):
        return _Closing(await nats.connect(self._server.url, allow_reconnect=False, error_cb=_ignore))

    async def _question(self, client):
        self.times += 1
        return (await client.request(SUBJECT, timeout=2)).data

    async def _respond(self, message):
        if self._from_the is not None and self.times >= self._from_the:
            await message.respond(b"answer")


class _Closing(contextlib.AbstractAsyncContextManager):
    def __init__(self, client):
        self._client = client

    async def __aenter__(self):
        return self._client

    async def __aexit__(self, *exc):
        # To a server that was killed it cannot say goodbye.
        with contextlib.suppress(OSError):
            await self._client.close()


async def _ignore(_error):
    """Say nothing: what comes of the question is what matters."""


def _ask(questioner, meanwhile=None):
    return asyncio.run(asyncio.wait_for(questioner.ask(meanwhile), 20))


@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_question_that_is_dropped_is_asked_again(server, times):
    questioner = _Questioner(server, from_the=times)
    assert _ask(questioner) == b"answer"
    assert times <= questioner.times <= MOST_TIMES  # more if the answer took long


@pytest.mark.parametrize("from_the", [0, None])
def test_a_question_without_an_answer_is_a_doubt_and_is_not_asked_without_a_pause(server, from_the):
    questioner = _Questioner(server, from_the)
    with pytest.raises(UnconfirmedError):
        _ask(questioner)
    assert 2 < questioner.times <= MOST_TIMES


def test_a_lost_connection_ends_the_asking(server):
    questioner = _Questioner(server, from_the=None)
    with pytest.raises(UnconfirmedError, match="lost"):
        _ask(questioner, meanwhile=server.kill)
    assert questioner.times < MOST_TIMES - 1
