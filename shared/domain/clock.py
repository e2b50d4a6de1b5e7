"""The only place that reads a clock. Everything else is given a `Clock`, or a time as an argument."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def seconds_to_ns(seconds: float) -> int:
    """Whole nanoseconds of a duration in seconds, rounded to the nearest."""
    return round(seconds * NS_PER_S)


def ns_to_seconds(ns: int) -> float:
    """Seconds of a duration in nanoseconds."""
    return ns / NS_PER_S


class Clock(Protocol):
    """Wall clock and monotonic clock, both in nanoseconds."""

    def now_ns(self) -> int:
        """UTC nanoseconds since the epoch. It can jump when the machine's clock is set."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary point. It never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task for `seconds` of monotonic time."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that tests move by hand. Sleepers wake when `advance` passes their time; `jump` sets the wall clock only.

    Single event loop; `now_ns` and `monotonic_ns` may be read from other threads.
    """

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0
        self._lock = threading.Lock()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = 0

    def now_ns(self) -> int:
        with self._lock:
            return self._now_ns

    def monotonic_ns(self) -> int:
        with self._lock:
            return self._monotonic_ns

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self.monotonic_ns() + seconds_to_ns(seconds), self._order, future))
        await future

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock now."""
        return sum(1 for *_, future in self._sleepers if not future.done())

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake every sleeper whose time has come, in order."""
        with self._lock:
            self._monotonic_ns += seconds_to_ns(seconds)
            self._now_ns += seconds_to_ns(seconds)
            due_ns = self._monotonic_ns
        while self._sleepers and self._sleepers[0][0] <= due_ns:
            *_, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward (or back, when negative); the monotonic clock does not move."""
        with self._lock:
            self._now_ns += seconds_to_ns(seconds)
