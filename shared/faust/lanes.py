"""One message in flight per partition, partitions side by side.

One Faust agent over all partitions would let a slow channel delay the others, so it hands its events to lanes, one per partition. Why not
Faust's actors, one per partition: see `worker.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

E = TypeVar("E")
LaneKey = tuple[str, int]

#: Events that may wait in a lane before its partition is paused; Faust then fetches no more of it.
LANE_MAX_WAITING = 2


class Lanes(Generic[E]):
    """Runs `handle` for each event, in order within a lane. A lane has a task only while it has events.

    Args:
        handle: must not raise; its end is the end of the event.
        pause, resume: called with a lane that is full, and with one that has room again.
    """

    def __init__(self, handle: Callable[[E], Awaitable[None]], pause: Callable[[LaneKey], None], resume: Callable[[LaneKey], None]) -> None:
        self._handle, self._pause, self._resume = handle, pause, resume
        self._waiting: dict[LaneKey, deque[E]] = {}
        self._tasks: dict[LaneKey, asyncio.Task[None]] = {}
        self._paused: set[LaneKey] = set()

    def put(self, lane: LaneKey, event: E) -> None:
        """Take an event; never waits. More than `LANE_MAX_WAITING` come only as far as they were fetched before the pause."""
        waiting = self._waiting.setdefault(lane, deque())
        waiting.append(event)
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.create_task(self._run(lane, waiting), name=f"lane {lane[0]}/{lane[1]}")
        elif len(waiting) >= LANE_MAX_WAITING and lane not in self._paused:
            self._paused.add(lane)
            self._pause(lane)

    def idle(self, lane: LaneKey) -> bool:
        """Whether nothing of the lane is in hand or waits."""
        return lane not in self._tasks

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def drain(self, timeout_s: float) -> None:
        """Forget what waits, and wait for what is in flight; after `timeout_s` it is cancelled."""
        for waiting in self._waiting.values():
            waiting.clear()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, lane: LaneKey, waiting: deque[E]) -> None:
        try:
            while waiting:
                event = waiting.popleft()
                if len(waiting) < LANE_MAX_WAITING:
                    self._unpause(lane)
                await self._handle(event)
        finally:
            del self._tasks[lane]
            self._unpause(lane)

    def _unpause(self, lane: LaneKey) -> None:
        if lane in self._paused:
            self._paused.discard(lane)
            self._resume(lane)
