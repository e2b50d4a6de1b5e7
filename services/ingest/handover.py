"""Handing one channel's segments over: from the spool to the bus, in order, deleted only when acknowledged (invariant 2)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

import structlog

from services.ingest import metrics
from services.ingest.adapters.spool import Spool
from services.ingest.adapters.spool_file import SpoolError
from services.ingest.core.backoff import Backoff
from services.ingest.core.spool_index import Entry
from shared.bus.port import Position, Producer
from shared.domain.clock import Clock
from shared.domain.errors import BusError, MessageTooLarge
from shared.topics import SEGMENTS

log = structlog.get_logger(__name__)

WINDOW = 2  # segments in flight: enough to hide the round trip, and 16 MiB at the very most per channel
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.5, 15.0


class HandOver:
    """One channel. `wake` it when there is something new; `run` is a supervised loop."""

    def __init__(self, channel: str, spool: Spool, producer: Producer, clock: Clock, unreadable: Callable[[str, str], None]) -> None:
        """`unreadable(channel, text)`: a waiting segment had to be set aside."""
        self._channel, self._spool, self._producer, self._clock = channel, spool, producer, clock
        self._unreadable = unreadable
        self._wake = asyncio.Event()
        self._last = -1
        self._in_flight: deque[tuple[Entry, asyncio.Future[Position]]] = deque()
        self._backoff = Backoff(BACKOFF_MIN_S, BACKOFF_MAX_S)
        self.idle = asyncio.Event()  # set while nothing waits

    def wake(self) -> None:
        """There is a new segment. On the event loop."""
        self.idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Hand over for ever. After a failure it begins with the oldest segment that is not acknowledged."""
        self._last = -1
        self._in_flight.clear()
        while True:
            self._wake.clear()
            try:
                await self._settle()
                await self._fill()
            except BusError as error:
                log.warning("segments cannot be handed over now", channel=self._channel, error=str(error))
                await self._retreat()
                continue
            if not self._in_flight and self._spool.next_after(self._channel, self._last) is None:
                self.idle.set()
            await self._wake.wait()

    async def _settle(self) -> None:
        """Delete what is acknowledged, oldest first. Raises what the oldest failed with."""
        while self._in_flight and self._in_flight[0][1].done():
            entry, future = self._in_flight[0]
            future.result()
            await asyncio.to_thread(self._spool.acknowledge, entry)
            self._in_flight.popleft()
            self._backoff.reset()
            metrics.HANDED_OVER.labels(self._channel).inc()

    async def _fill(self) -> None:
        while len(self._in_flight) < WINDOW:
            entry = self._spool.next_after(self._channel, self._last)
            if entry is None:
                return
            try:
                message = await asyncio.to_thread(self._spool.load, entry)
                future = await self._producer.enqueue(SEGMENTS, message)
            except (SpoolError, MessageTooLarge) as error:
                await asyncio.to_thread(self._spool.set_aside, entry)
                metrics.SET_ASIDE.labels(self._channel).inc()
                self._unreadable(self._channel, str(error))
                continue
            self._last = entry.number
            self._in_flight.append((entry, future))
            future.add_done_callback(lambda _: self._wake.set())

    async def _retreat(self) -> None:
        """Wait until everything in flight has settled, then a while; then begin anew with the oldest. Repeats have the same id."""
        if self._in_flight:
            await asyncio.wait([future for _, future in self._in_flight])
            for _, future in self._in_flight:
                future.exception()
        self._in_flight.clear()
        self._last = -1
        await self._clock.sleep(self._backoff.next(random.random()))
