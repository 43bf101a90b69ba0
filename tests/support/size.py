"""How much of a large test is run: a part of it in `make test`, all of it in `make soak`."""

import os

SOAK = bool(os.environ.get("SOAK"))


def few(part, *, of):
    """Return the part that is run every time, or all of it under `make soak`. The test bears the marker `soak`."""
    return of if SOAK else part
