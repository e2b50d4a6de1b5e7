"""Entry point of the `vedette` command: light, so that Ctrl-C is quiet also while the rest is still being imported."""

from __future__ import annotations

import os
import signal
import sys
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


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback."""
    interrupt_quietly()
    try:
        if len(sys.argv) == 3 and sys.argv[1] == "health" and not sys.argv[2].startswith("-"):
            from services.cli.health import main as health

            sys.exit(health(sys.argv[2]))  # asked every few seconds in every container: without the rest of the command
        from services.cli.main import main as command

        command()
    except KeyboardInterrupt:
        os._exit(KILLED_BY_SIGINT)  # before a command has begun: there is nothing to close


if __name__ == "__main__":
    main()
