"""A future that is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow_client._waiting.execution_future import ExecutionFuture
    from flow_client._waiting.learned_schedule import LearnedSchedule
    from flow_client._waiting.polling import Watch


@dataclass(eq=False, slots=True)
class PendingPoll:
    """A future, the state of its wait, and the times of its next poll.

    Attributes:
        future: the execution's future.
        watch: the state of its wait.
        schedule: when the execution is worth a poll.
        is_new: whether the execution was just submitted; any other may have ended long before anybody listened.
        age: how old the execution was at the last poll, in seconds.
        polled_at: when it was polled last, or added.
        due: when the next poll is due; None while one is under way, as for the two below.
        urgent: when the next poll is urgent.
        likely: when it has probably ended.
        is_hinted: whether a hint since the last poll says that it has ended.
        was_heard: whether a hint has ever said so.
    """

    future: ExecutionFuture
    watch: Watch
    schedule: LearnedSchedule
    is_new: bool = True
    age: float = 0.0
    polled_at: float = 0.0
    due: float | None = None
    urgent: float | None = None
    likely: float | None = None
    is_hinted: bool = False
    was_heard: bool = False

    @property
    def execution_id(self) -> str:
        """The execution's id."""
        return self.future.execution_id

    @property
    def is_done(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()
