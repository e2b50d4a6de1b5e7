"""Ctrl-C and SIGTERM: the first stops in order, the second at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.cli.entry import KILLED_BY_SIGINT


@contextmanager
def stop_signals(*, at_once: Callable[[], None]) -> Iterator[asyncio.Event]:
    """While inside, the first SIGINT or SIGTERM sets the event; the second calls `at_once` and ends the process.

    Recording survives even that: what was acknowledged is on disk, and start-up reconciles the rest.
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

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
