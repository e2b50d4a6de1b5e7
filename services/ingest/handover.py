"""Handing the channels' segments over: from the spool to the bus, in order, deleted only when acknowledged (invariant 2).

One segment of a channel is under way at a time: were the next one sent behind it, it could arrive although the first one failed, and
the order be lost. What has piled up waits for its turn (`core/catch_up.py`); what is live goes at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from services.ingest import metrics
from services.ingest.adapters.spool import Spool
from services.ingest.adapters.spool_file import SpoolError
from services.ingest.core.backoff import Backoff
from services.ingest.core.catch_up import CatchUp
from services.ingest.core.spool_index import Entry
from shared.bus.port import Producer
from shared.domain.clock import Clock
from shared.domain.errors import BusError, MessageTooLarge
from shared.topics import SEGMENTS

log = structlog.get_logger(__name__)

BACKOFF_MIN_S, BACKOFF_MAX_S = 0.5, 15.0


class Turns:
    """The backlog's turns of one process. `run` is a supervised loop."""

    def __init__(self, clock: Clock, bytes_per_s: int | None) -> None:
        """`bytes_per_s`: the budget of all backlog together; None: it follows the cameras."""
        self._clock = clock
        self.core = CatchUp(clock.monotonic_ns(), bytes_per_s)
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()

    def recorded(self, entry: Entry) -> None:
        """A camera has delivered a segment."""
        self.core.recorded(entry.size_bytes, self._clock.monotonic_ns())

    @asynccontextmanager
    async def turn(self, entry: Entry) -> AsyncIterator[None]:
        """Wait for the turn of a waiting segment; it is its turn until the end of the block."""
        granted = self._asking[entry.channel] = asyncio.get_running_loop().create_future()
        self.core.ask(entry.channel, entry.number, entry.size_bytes)
        self._wake.set()
        try:
            await granted
            yield
        finally:
            self._asking.pop(entry.channel, None)
            self.core.withdraw(entry.channel)
            self._wake.set()

    async def run(self) -> None:
        """Grant turns for ever."""
        while True:
            self._wake.clear()
            while (channel := self.core.grant(self._clock.monotonic_ns())) is not None:
                granted = self._asking[channel]
                if not granted.done():  # else it was cancelled, and withdraws when it comes to it
                    granted.set_result(None)
            pause_s = self.core.pause_s(self._clock.monotonic_ns())
            metrics.CATCHING_UP.set(len(self._asking))
            await self._woken(pause_s)

    async def _woken(self, pause_s: float | None) -> None:
        """Until somebody asks or arrives, or `pause_s` are over."""
        if pause_s is None:
            await self._wake.wait()
            return
        tasks = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._clock.sleep(pause_s))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class HandOver:
    """One channel. `wake` it when there is something new; `run` is a supervised loop."""

    def __init__(
        self, channel: str, spool: Spool, producer: Producer, clock: Clock, turns: Turns, unreadable: Callable[[str, str], None]
    ) -> None:
        """`unreadable(channel, text)`: a waiting segment had to be set aside."""
        self._channel, self._spool, self._producer, self._clock = channel, spool, producer, clock
        self._turns, self._unreadable = turns, unreadable
        self._wake = asyncio.Event()
        self._backoff = Backoff(BACKOFF_MIN_S, BACKOFF_MAX_S)
        self.idle = asyncio.Event()  # set while nothing waits

    def wake(self) -> None:
        """There is a new segment. On the event loop."""
        self.idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Hand over for ever, oldest first. What failed is tried again, with the same id."""
        while True:
            self._wake.clear()
            entry = self._spool.next_after(self._channel, -1)
            if entry is None:
                self.idle.set()
                await self._wake.wait()
                continue
            try:
                if self._spool.next_after(self._channel, entry.number) is None:
                    await self._hand_over(entry)
                else:
                    async with self._turns.turn(entry):
                        await self._hand_over(entry)
            except BusError as error:
                log.warning("segments cannot be handed over now", channel=self._channel, error=str(error))
                await self._clock.sleep(self._backoff.next(random.random()))

    async def _hand_over(self, entry: Entry) -> None:
        """Publish, wait for the acknowledgement, delete. Raises BusError: not now."""
        try:
            message = await asyncio.to_thread(self._spool.load, entry)
            await self._producer.publish(SEGMENTS, message)
        except (SpoolError, MessageTooLarge) as error:
            await asyncio.to_thread(self._spool.set_aside, entry)
            metrics.SET_ASIDE.labels(self._channel).inc()
            self._unreadable(self._channel, str(error))
            return
        await asyncio.to_thread(self._spool.acknowledge, entry)
        self._backoff.reset()
        metrics.HANDED_OVER.labels(self._channel).inc()
