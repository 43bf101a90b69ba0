"""What `PlatformClient.map` returns."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from flow_client._core.synchronous import not_async

if TYPE_CHECKING:
    from collections.abc import Callable

OutcomeT = TypeVar("OutcomeT", covariant=True)  # noqa: PLC0105 - users read it in signatures


@dataclass(frozen=True)
class BatchCounts:
    """The progress of a batch. Every input is counted once, by the execution that stands for it.

    Attributes:
        inputs: inputs that were read.
        started: executions that this run has started.
        resumed: executions that an earlier run had started, and this one has taken up.
        retried: executions among `started` that replace one that had failed in an earlier run.
        completed: executions that have completed.
        failed: executions that have ended in another way.
        errors: inputs that could not be submitted or waited for.
    """

    inputs: int = 0
    started: int = 0
    resumed: int = 0
    retried: int = 0
    completed: int = 0
    failed: int = 0
    errors: int = 0

    @property
    def unfinished(self) -> int:
        """How many inputs were read and have no outcome yet."""
        return self.inputs - self.completed - self.failed - self.errors

    def __str__(self) -> str:
        retried = f" ({self.retried} again)" if self.retried else ""
        return (
            f"{self.inputs} inputs: {self.started} started{retried}, {self.resumed} resumed; "
            f"{self.completed} completed, {self.failed} failed, {self.errors} errors, {self.unfinished} unfinished"
        )


class Batch(Generator[OutcomeT, None, None]):
    """The records of a batch in the order of its inputs, as a generator that also counts.

    `close()`, Ctrl-C or an error ends it; what was submitted goes on.
    """

    def __init__(self, outcomes: Generator[OutcomeT, None, None], counts: Callable[[], BatchCounts]) -> None:
        self._outcomes = outcomes
        self._counts = counts

    @property
    def counts(self) -> BatchCounts:
        """How many executions were started, resumed and completed so far; also after the batch has ended."""
        return self._counts()

    def send(self, value: None) -> OutcomeT:
        """Return the next outcome, as a generator does."""
        return self._outcomes.send(value)

    def throw(self, *error: Any) -> OutcomeT:
        """Raise an error at the point where the batch waits, as a generator does."""
        return self._outcomes.throw(*error)

    if not TYPE_CHECKING:  # type checkers report it as missing

        def __aiter__(self) -> NoReturn:
            raise not_async("write `for` in place of `async for`")

    def close(self) -> None:
        """End the batch: nothing more is submitted or waited for."""
        self._outcomes.close()

    def __repr__(self) -> str:
        return f"<Batch of {self.counts}>"
