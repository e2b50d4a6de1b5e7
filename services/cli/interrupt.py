"""What Ctrl-C does before there is a loop that stops things in order, and after."""

from __future__ import annotations

import os
import signal
from types import FrameType

#: What a shell expects of a process that SIGINT ended.
KILLED_BY_SIGINT = 130


def interrupt_quietly() -> None:
    """Have Ctrl-C end the process at once, for as long as nothing is open that would have to be closed.

    Python's own way, an exception wherever the program is, is lost inside callbacks (garbage collection, weak references, imports): a
    traceback is printed and the program goes on. Where Ctrl-C is ignored (in the background of a script) it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupt_as_usual() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again: from here on there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(KILLED_BY_SIGINT)
