"""What a client tells about its futures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientStats:
    """How a client's futures are polled at one moment, the client's copies included.

    Attributes:
        watched: futures that are not done.
        lanes: threads that send their requests.
        held: requests that the platform holds until something changes.
        requests_per_second: limit on the polls, and on the submissions of `map`; it adapts to the platform.
        resting: seconds for which the platform asked to be left alone; 0 if it did not.
        requests: polls and submissions of `map` that were sent so far.
        refusals: how many of them were answered with 429, 503 or `Retry-After`.
    """

    watched: int
    lanes: int
    held: int
    requests_per_second: float
    resting: float
    requests: int
    refusals: int
