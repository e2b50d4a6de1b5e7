"""Ends a process whose worker is stuck, so that whoever runs it starts it again: a container's health check alone restarts nothing.

What was acknowledged is durable by then, and what was not is handled again by the next process or by another worker.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

import structlog

from shared.domain.clock import Clock, ns_to_seconds

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
#: EX_TEMPFAIL of sysexits.h: try again.
EXIT_STUCK = 75


class Watchdog:
    """A thread of its own: an event loop that is blocked watches nothing.

    Args:
        limit_s: seconds without progress after which the process ends.
        stuck_s: for how many seconds the worker has made none. It and `excused` are called on the event loop.
        excused: whether there is a reason now for making none; what went before does not count then.
    """

    def __init__(self, name: str, limit_s: float, clock: Clock, stuck_s: Callable[[], float], excused: Callable[[], bool]) -> None:
        self._name, self._limit_s, self._clock = name, limit_s, clock
        self._ask, self._excused, self._excused_ns = stuck_s, excused, 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._answered_ns, self._stuck_s = 0, 0.0

    def start(self) -> None:
        """On the event loop that is watched."""
        self._stopping.clear()
        self._answered_ns = self._excused_ns = self._clock.monotonic_ns()
        self._stuck_s = 0.0
        self._thread = threading.Thread(target=self._run, args=(asyncio.get_running_loop(),), name=f"watch over {self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            silent_s = ns_to_seconds(self._clock.monotonic_ns() - self._answered_ns)
            if max(silent_s, self._stuck_s) > self._limit_s:
                why = "handles nothing though messages wait" if self._stuck_s > self._limit_s else "its event loop answers no more"
                log.critical("a worker is stuck, its process ends to be started again", worker=self._name, why=why, after_s=self._limit_s)
                sys.stdout.flush()
                os._exit(EXIT_STUCK)  # an orderly end would wait for what is stuck
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        now_ns = self._answered_ns = self._clock.monotonic_ns()
        if self._excused():
            self._excused_ns, self._stuck_s = now_ns, 0.0
        else:
            self._stuck_s = min(self._ask(), ns_to_seconds(now_ns - self._excused_ns))
