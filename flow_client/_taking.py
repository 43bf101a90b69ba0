"""Taking an execution's input and handing in its output: what is said to the work queue, and what to the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._api._generated import operations
from flow_client._core.log import logger
from flow_client._nats import inputs
from flow_client._nats.outbox.backlog import Message
from flow_client.errors import PlatformClientError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._nats.outbox.outbox import Outbox
    from flow_client.models import ExecutionInput


class Taking:
    """The inputs that are taken through one bridge, and the outputs that answer them.

    Args:
        inputs: the work queue.
        outbox: where outputs and status go.
        run: runs a coroutine function in the loop; `limit` is how many seconds it may take.
    """

    def __init__(self, inputs: inputs.Inputs, outbox: Outbox, run: Callable[..., Any]) -> None:
        self._inputs = inputs
        self._outbox = outbox
        self._run = run

    def fetch(self, token: str, running: bytes, timeout: float, ack: str) -> ExecutionInput:
        """Take an input and publish the status `running`."""
        content: ExecutionInput = self._run(
            self._inputs.fetch, token, timeout, ack, limit=timeout + inputs.LONGEST_SETTLING
        )
        try:
            # What became of earlier messages is not this call's business: the next one says it.
            self._outbox.confirm(_message(operations.EXECUTION_STATUS_UPDATE_SUBJECT, token, running))
        except PlatformClientError as error:
            if self._inputs.holds(token):
                self._run(self._inputs.give_back, token, limit=inputs.LEAVE_TIMEOUT)
                raise
            # To raise it would lose the input, which is nowhere else any more.
            logger.warning("the status `running` of execution %s was not published: %s", token, error)
        return content

    def hand_in(self, token: str, payload: bytes) -> None:
        """Store an output, if no other worker has taken the execution over, and acknowledge the input."""
        held = self._inputs.holds(token)
        if held:
            self._run(self._inputs.check, token, limit=inputs.SETTLE_TIMEOUT)
        try:
            self.store(operations.EXECUTION_OUTPUT_SUBJECT, token, payload)
        except UndeliveredError:  # of earlier messages: the output is stored
            self._settle(token, held=held)
            raise
        self._settle(token, held=held)

    def store(self, subject: str, token: str, payload: bytes) -> None:
        """Store a message about an execution."""
        self._outbox.store(_message(subject, token, payload))

    def _settle(self, token: str, *, held: bool) -> None:
        if held:
            self._run(self._inputs.settle, token, limit=3 * inputs.SETTLE_TIMEOUT)


def _message(subject: str, token: str, payload: bytes) -> Message:
    return Message(subject.format(execution_id=token), payload, waited_for=True)
