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
"""Seconds that taking an input may need in addition to waiting for it; giving up within them would lose the input."""

_ACKNOWLEDGED = b"+ACK"
_IN_PROGRESS = b"+WPI"
_TERMINATED = b"+TERM"


class Lease:
    """An input that was taken and is not acknowledged yet: another worker can still take it over.

    Attributes:
        content: the input.
    """

    def __init__(self, consumer: Consumer, content: ExecutionInput) -> None:
        self._consumer = consumer
        self._heartbeats: asyncio.Task[None] | None = None
        self.content = content

    def keep_alive(self) -> None:
        """Keep telling the server that this worker is at work, until the input is confirmed or released."""
        self._heartbeats = asyncio.ensure_future(self._send_heartbeats())

    async def check(self) -> None:
        """Raise `TakenOverError` if another worker has taken the input over."""
        await self._settle(_IN_PROGRESS)

    async def confirm(self) -> None:
        """Acknowledge the input, which removes it from the work queue.

        Raises:
            BridgeError: another worker has taken it over, or NATS did not confirm.
        """
        self.release()
        await self._settle(_ACKNOWLEDGED)
        await _leave(self._consumer)

    def release(self) -> None:
        """Stop the heartbeats; the input stays in the work queue."""
        if self._heartbeats is not None:
            self._heartbeats.cancel()

    async def _settle(self, kind: bytes) -> None:
        await self._consumer.settle(kind, Deadline(SETTLE_TIMEOUT))

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            try:
                await self.check()
            except TakenOverError as error:
                logger.warning("%s: this worker's result will be discarded", error)
                return
            except PlatformClientError as error:
                logger.info("a heartbeat for the input failed: %s", error)


class Inputs:
    """The inputs that this bridge has taken and holds until their outputs are stored.

    Args:
        connection: the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._leases: dict[str, Lease] = {}

    def holds(self, execution_id: str) -> bool:
        """Return whether this bridge holds the execution's input."""
        return execution_id in self._leases

    async def fetch(self, execution_id: str, timeout: float, ack: str) -> ExecutionInput:
        """Take an input and acknowledge it now, or hold it until `settle` if `ack` is `on_done`."""
        lease = await take(self._connection, execution_id, timeout)
        if ack == "on_done":
            lease.keep_alive()
            self._leases[execution_id] = lease
        else:
            await lease.confirm()
        return lease.content

    async def give_back(self, execution_id: str) -> None:
        """Stop holding the input; it stays in the work queue."""
        self._leases.pop(execution_id).release()

    async def check(self, execution_id: str) -> None:
        """Raise `TakenOverError` if this bridge holds the input but another worker has taken it over."""
        if execution_id in self._leases:
            await self._leases[execution_id].check()

    async def settle(self, execution_id: str) -> None:
        """Acknowledge the input if it is held. A failure is logged: raising would get the output pushed twice."""
        lease = self._leases.pop(execution_id, None)
        if lease is None:
            return
        try:
            await lease.confirm()
        except PlatformClientError as error:
            logger.warning("execution %s has an output, but its input may be delivered again: %s", execution_id, error)

    def release(self) -> None:
        """Stop holding any input; they all stay in the work queue."""
        for lease in self._leases.values():
            lease.release()


async def take(connection: Connection, execution_id: str, timeout: float) -> Lease:
    """Take an execution's input, even from an earlier worker that died or hangs.

    Args:
        connection: the connection.
        execution_id: the execution, as a subject token.
        timeout: seconds to wait for the input.

    Raises:
        BridgeTimeoutError: no input arrived in time.
        MalformedInputError: the message is not a valid input; it is gone from the work queue.
        BridgeError: NATS refused, or another worker took over in the meantime.
    """
    consumer = Consumer(connection, INPUT_STREAM, EXECUTION_INPUT_SUBJECT.format(execution_id=execution_id))
    raw = await consumer.take(Deadline(timeout))
    if raw is None:
        await _leave(consumer)
        raise BridgeTimeoutError(
            f"no input for execution {execution_id} arrived within {timeout:g} s", execution_id=execution_id
        )
    try:
        content = ExecutionInput.model_validate(jsontext.decode(raw))
    except ValueError as error:
        await consumer.settle(_TERMINATED, Deadline(SETTLE_TIMEOUT))
        await _leave(consumer)
        raise MalformedInputError(
            f"the input of execution {execution_id} is malformed: {error}", execution_id=execution_id, raw=raw
        ) from error
    return Lease(consumer, content)


async def _leave(consumer: Consumer) -> None:
    try:
        await consumer.delete(Deadline(LEAVE_TIMEOUT))
    except PlatformClientError as error:
        logger.info("a consumer was not deleted, the server will remove it: %s", error)
