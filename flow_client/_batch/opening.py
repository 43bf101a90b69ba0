"""The parts of a `map`, put together. Only a script that maps loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_client._batch.counts import Batch
from flow_client._batch.fanout import BatchOptions, FanOut
from flow_client._batch.keys import BatchKeys
from flow_client._batch.progress import progress_of
from flow_client._batch.submitter import Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flow_client._waiting.pace import Pace
    from flow_client.executions import ExecutionHandle


def open_batch(
    submit: Callable[..., ExecutionHandle],
    inputs: Iterable[Any],
    *,
    key: str | Callable[[Any], str] | None,
    patience: float,
    first_attempts: int,
    pace: Pace,
    progress: bool,
    **options: Any,
) -> Batch[Any]:
    """Return the batch that `PlatformClient.map` describes; `options` are the fields of `BatchOptions`."""
    keys = BatchKeys(key)
    submitter = Submitter(
        submit, passes_keys=keys.is_given, patience=patience, first_attempts=first_attempts, pace=pace
    )
    fan_out = FanOut(inputs, submitter, keys, BatchOptions(**options), progress_of(inputs, progress))
    return Batch(fan_out.outcomes(), fan_out.counts)
