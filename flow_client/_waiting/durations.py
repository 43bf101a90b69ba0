"""How long the executions of a component take, learnt from those that have ended."""

from __future__ import annotations

import math

FIRST_AGE = 0.05
STEPS = 8
"""Ages are told apart by an eighth of an octave, from `FIRST_AGE` seconds on."""
MOST_STEPS = 27 * STEPS
"""The last step is 77 days."""
ENOUGH = 30
"""How many executions must have ended before they say anything about the others."""
MOST_COMPONENTS = 1000
HARDLY = 0.05
"""Up to the age at which this share has ended, hardly any ends."""
PRIOR = 0.1
"""How many ends the guess of 1/age counts for, in each step of age."""
_NEWS = frozenset(ENOUGH * 2**power for power in range(5))
REMEMBERED = 512
"""After this many ends all that is known counts half: a component's executions may become longer or shorter."""


class Durations:
    """The likelihood that an execution ends at a certain age.

    For each step of age it keeps how many executions ended there, and how many seconds executions were watched there,
    those included that have not ended yet: the short ones end first, and alone they would make all seem short. The
    quotient is the hazard, the ends per second. Until much is known of an age, its hazard is close to 1/age: then the
    pauses between polls are in proportion to the age.

    One thread writes; others may read.
    """

    def __init__(self) -> None:
        self._ends = [0.0] * MOST_STEPS
        self._watched = [0.0] * MOST_STEPS
        self._count = 0
        self._quiet_until = 0.0

    @property
    def is_known(self) -> bool:
        """Whether enough executions have ended."""
        return self._count >= ENOUGH

    def note_running(self, last_age: float, age: float) -> None:
        """Note that an execution which ran at `last_age` still runs at `age`."""
        step = _step(last_age)
        while step < MOST_STEPS - 1 and _age(step + 1) < age:
            self._watched[step] += _age(step + 1) - last_age
            step += 1
            last_age = _age(step)
        self._watched[step] += age - last_age

    def note_end(self, last_age: float, age: float) -> bool:
        """Note that an execution which ran at `last_age` has ended by `age`; return whether that is worth a new plan.

        The end is put at `age`: in the middle, it would be where many others have been seen to run.
        """
        self.note_running(last_age, age)
        self._ends[_step(age)] += 1
        self._count += 1
        if self._count % REMEMBERED == 0:
            self._ends = [ends / 2 for ends in self._ends]
            self._watched = [seconds / 2 for seconds in self._watched]
        if self._count % ENOUGH == 0:
            self._quiet_until = self.seconds_until(HARDLY, 0.0)
        return self._count in _NEWS

    def quiet_for(self, age: float) -> float:
        """Return for how many seconds hardly any execution of that age ends."""
        return max(0.0, self._quiet_until - age)

    def seconds_until(self, ends: float, age: float) -> float:
        """Return the seconds after which so many ends are expected of one that runs at `age`, infinity if never."""
        wanted = ends
        step, reached = _step(age), age
        while step < MOST_STEPS - 1:
            until = _age(step + 1)
            hazard = (self._ends[step] + PRIOR) / (self._watched[step] + PRIOR * until)
            if hazard * (until - reached) >= wanted:
                return reached + wanted / hazard - age
            wanted -= hazard * (until - reached)
            step, reached = step + 1, until
        return math.inf


def _step(age: float) -> int:
    return 0 if age < FIRST_AGE else min(MOST_STEPS - 1, 1 + int(STEPS * math.log2(age / FIRST_AGE)))


def _age(step: int) -> float:
    """Return the age at which a step begins."""
    return 0.0 if step == 0 else FIRST_AGE * 2.0 ** ((step - 1) / STEPS)


class ComponentDurations:
    """The durations of each component. The components that were asked for last are remembered."""

    def __init__(self) -> None:
        self._components: dict[str, Durations] = {}

    def of(self, component: str) -> Durations:
        """Return what is known of a component; signal handlers and threads may ask at the same time."""
        known = self._components.setdefault(component, Durations())
        if len(self._components) > MOST_COMPONENTS:
            self._components.pop(next(iter(self._components)), None)
        return known
