"""The package's one logger. It says nothing unless the application sets it up."""

import logging
import sys

logger = logging.getLogger("flow_client")
logger.addHandler(logging.NullHandler())


def warn_still_running(message: str, interrupt: BaseException) -> None:
    """Log one WARNING that names what is still running, and add it as a note to the interrupting exception."""
    logger.warning("%s", message)
    # A script that has not set up logging sees it there.
    add_note(interrupt, message)


def add_note(error: BaseException, note: str) -> None:
    """Add a note to `error`, which its traceback shows: from Python 3.11 on, and in pytest and IPython before."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]


def say_at_exit(message: str) -> None:
    """Log an ERROR, or write it to standard error if logging is not set up: no later call can report it."""
    if _is_set_up():
        logger.error("%s", message)
    elif sys.stderr is not None:
        sys.stderr.write(f"flow_client: {message}\n")


def _is_set_up() -> bool:
    found: logging.Logger | None = logger
    while found is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in found.handlers):
            return True
        found = found.parent if found.propagate else None
    return False
