"""One poll of a future, as a lane carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_client._core.deadline import Deadline
from flow_client._core.signal_mask import as_usual
from flow_client._core.tracebacks import trim_traceback
from flow_client.errors import PlatformClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow_client._api._generated.models import ExecutionRecord
    from flow_client._waiting.pending_poll import PendingPoll
    from flow_client._waiting.polling import Poll

    Outcome = ExecutionRecord | BaseException | float


class PollJob:
    """Polls once, tells what came of it, and settles the future if that was the end.

    Args:
        pending: the future.
        poll: reads its record within a `Deadline`.
        tell: called with the job when the poll is over, before the future's callbacks are.
        hold: seconds for which the platform is asked to hold the request.
        clock: seconds that only grow.

    Attributes:
        pending: as above.
        hold: as above.
        outcome: the record, the error, or the seconds until the next poll.
        error: why the poll failed, also if the wait goes on; None if it did not.
        seconds: how long the answer took; None if the platform held it or there was none.
        is_abandoned: whether nobody waits for the outcome any more.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_poll",
        "_tell",
        "error",
        "hold",
        "is_abandoned",
        "outcome",
        "pending",
        "seconds",
    )

    def __init__(
        self,
        pending: PendingPoll,
        poll: Callable[..., Poll],
        tell: Callable[[PollJob], None],
        hold: int,
        clock: Callable[[], float],
    ) -> None:
        self.pending = pending
        self.hold = hold
        self.outcome: Outcome = 0.0
        self.error: BaseException | None = None
        self.seconds: float | None = None
        self.is_abandoned = False
        self._poll = poll
        self._tell = tell
        self._clock = clock
        self._deadline: Deadline | None = None

    def __call__(self) -> None:
        """Poll; in the lane's thread."""
        watch = self.pending.watch
        watch.longest_hold = self.hold
        try:
            self.outcome = watch.step(self._measured)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's: a token function may exit
            trim_traceback(error)
            self.outcome = error
        self._tell(self)
        if not isinstance(self.outcome, float):
            with as_usual():
                self.pending.future.settle_quietly(self.outcome)

    def abandon(self) -> None:
        """Give the request up, within a moment. Any thread may call this."""
        self.is_abandoned = True
        if self._deadline is not None:
            self._deadline.expire()

    def _measured(self, execution_id: str, *, hold: int, timeout: float) -> Poll:
        deadline = self._deadline = Deadline(timeout, self._clock)
        if self.is_abandoned:
            deadline.expire()
        started = self._clock()
        try:
            poll = self._poll(execution_id, hold=hold, timeout=deadline)
        except PlatformClientError as error:
            self.error = error
            raise
        if not poll.held:
            self.seconds = self._clock() - started
        return poll
