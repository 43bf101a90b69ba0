"""The package's one logger. It says nothing unless the application sets it up."""

import logging

logger = logging.getLogger("flow_client")
logger.addHandler(logging.NullHandler())


def say_what_is_left(message: str, interrupt: BaseException) -> None:
    """Say in one WARNING, and under the traceback of what interrupted it, what goes on without the caller."""
    logger.warning("%s", message)
    # A script that has no logging sees it there, from Python 3.11 on.
    getattr(interrupt, "add_note", str)(message)
