"""Ctrl-C: the first one ends what is done in good order, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from flow_client.cli import exits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from flow_client.cli.output import Output


def install() -> None:
    """Set the handler, unless whoever started this process has it ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


@contextmanager
def explained(output: Output, message: str | Callable[[], str]) -> Iterator[None]:
    """Say `message`, or what it returns, if the block is interrupted: what goes on, and how to take it up again."""
    try:
        yield
    except KeyboardInterrupt:
        output.note(message if isinstance(message, str) else message(), is_important=True)
        raise


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(exits.INTERRUPTED)
