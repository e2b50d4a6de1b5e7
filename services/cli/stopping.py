"""Ctrl-C and SIGTERM: the first stops in order, the second at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from services.cli.interrupt import KILLED_BY_SIGINT


@contextmanager
def stop_signals(*, at_once: Callable[[], None]) -> Iterator[asyncio.Event]:
    """While inside, the first SIGINT or SIGTERM sets the event; the second calls `at_once` and ends the process.

    What was in force before is put back at the end. Recording survives even the second: what was acknowledged is on disk, and start-up
    reconciles the rest.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def received() -> None:
        if not stop.is_set():
            stop.set()
            return
        at_once()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(KILLED_BY_SIGINT)

    def handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(received)  # wakes the loop as well

    # Not the loop's own handlers: removing those leaves Python's default in force for a moment, which raises wherever the program is.
    found = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, before in found.items():
            signal.signal(number, before)
