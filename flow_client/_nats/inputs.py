"""Taking an execution's input exactly once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flow_client._api._generated.models import ExecutionInput
from flow_client._api._generated.operations import EXECUTION_INPUT_SUBJECT
from flow_client._core import jsontext
from flow_client._core.deadline import Deadline
from flow_client._core.log import logger
from flow_client._nats.connection import ATTEMPT_TIMEOUT
from flow_client._nats.consumer import ACK_WAIT, Consumer, TakenOverError
from flow_client._nats.jetstream import INPUT_STREAM
from flow_client.errors import BridgeTimeoutError, MalformedInputError, PlatformClientError

if TYPE_CHECKING:
    from flow_client._nats.connection import Connection

HEARTBEAT_INTERVAL = ACK_WAIT / 3
SETTLE_TIMEOUT = 30.0
LEAVE_TIMEOUT = 2.0
LONGEST_SETTLING = 2 * ATTEMPT_TIMEOUT + SETTLE_TIMEOUT + LEAVE_TIMEOUT
"""Seconds that taking an input may take besides the wait for it: to give them up would lose the input."""

_ACKNOWLEDGED = b"+ACK"
_IN_PROGRESS = b"+WPI"
_TERMINATED = b"+TERM"


class Lease:
    """An input that was taken and is not acknowledged yet: a successor of this worker would be given it again.

    Attributes:
        content: the input.
    """

    def __init__(self, consumer: Consumer, content: ExecutionInput) -> None:
        self._consumer = consumer
        self._heartbeats: asyncio.Task[None] | None = None
        self.content = content

    def keep_alive(self) -> None:
        """Tell the server that the input is being worked on, until it is confirmed or released."""
        self._heartbeats = asyncio.ensure_future(self._beat())

    async def check(self) -> None:
        """Raise `TakenOverError` if another worker has taken the input over."""
        await self._settle(_IN_PROGRESS)

    async def confirm(self) -> None:
        """Acknowledge the input: it is gone from the work queue.

        Raises:
            BridgeError: another worker has taken it over, or NATS did not confirm.
        """
        self.release()
        await self._settle(_ACKNOWLEDGED)
        await _leave(self._consumer)

    def release(self) -> None:
        """End the heartbeats; the input stays in the work queue."""
        if self._heartbeats is not None:
            self._heartbeats.cancel()

    async def _settle(self, kind: bytes) -> None:
        await self._consumer.settle(kind, Deadline(SETTLE_TIMEOUT))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            try:
                await self.check()
            except TakenOverError as exc:
                logger.warning("%s: this worker's result will be discarded", exc)
                return
            except PlatformClientError as exc:
                logger.info("no heartbeat for the input: %s", exc)


class Inputs:
    """The inputs that were taken here and are held until their output is stored.

    Args:
        connection: the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._leases: dict[str, Lease] = {}

    def holds(self, execution_id: str) -> bool:
        """Return whether the input is held here."""
        return execution_id in self._leases

    async def fetch(self, execution_id: str, timeout: float, ack: str) -> ExecutionInput:
        """Take an input, acknowledged now or held until `settle` (`on_done`)."""
        lease = await take(self._connection, execution_id, timeout)
        if ack == "on_done":
            lease.keep_alive()
            self._leases[execution_id] = lease
        else:
            await lease.confirm()
        return lease.content

    async def give_back(self, execution_id: str) -> None:
        """Hold the input no more: it stays in the work queue."""
        self._leases.pop(execution_id).release()

    async def check(self, execution_id: str) -> None:
        """Raise `TakenOverError` if the input is held here and another worker has taken it over."""
        if execution_id in self._leases:
            await self._leases[execution_id].check()

    async def settle(self, execution_id: str) -> None:
        """Acknowledge the input if it is held here. To raise would have the output stored a second time."""
        lease = self._leases.pop(execution_id, None)
        if lease is None:
            return
        try:
            await lease.confirm()
        except PlatformClientError as exc:
            logger.warning("execution %s has an output, but its input may be delivered again: %s", execution_id, exc)

    def release(self) -> None:
        """Hold no input any more: they stay in the work queue."""
        for lease in self._leases.values():
            lease.release()


async def take(connection: Connection, execution_id: str, timeout: float) -> Lease:
    """Take an execution's input, from a predecessor that died or hangs too.

    Args:
        connection: the connection.
        execution_id: the execution, as a subject token.
        timeout: seconds to wait for the input.

    Raises:
        BridgeTimeoutError: no input came in time.
        MalformedInputError: what came is no input; it is gone from the work queue.
        BridgeError: NATS refused, or another worker took over meanwhile.
    """
    consumer = Consumer(connection, INPUT_STREAM, EXECUTION_INPUT_SUBJECT.format(execution_id=execution_id))
    raw = await consumer.take(Deadline(timeout))
    if raw is None:
        await _leave(consumer)
        raise BridgeTimeoutError(
            f"no input for execution {execution_id} came within {timeout:g} s", execution_id=execution_id
        )
    try:
        content = ExecutionInput.model_validate(jsontext.decode(raw))
    except ValueError as exc:
        await consumer.settle(_TERMINATED, Deadline(SETTLE_TIMEOUT))
        await _leave(consumer)
        raise MalformedInputError(
            f"the input of execution {execution_id} is malformed: {exc}", execution_id=execution_id, raw=raw
        ) from exc
    return Lease(consumer, content)


async def _leave(consumer: Consumer) -> None:
    try:
        await consumer.delete(Deadline(LEAVE_TIMEOUT))
    except PlatformClientError as exc:
        logger.info("a consumer is left behind, the server will remove it: %s", exc)
