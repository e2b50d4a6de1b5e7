"""When a worker is told to be stuck: on the embedded bus, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import ManualClock
from shared.faust.worker import STALLED_AFTER_S, Outgoing, Worker
from shared.messages import DetectionsMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS
from tests.support.waiting import until

pytestmark = pytest.mark.integration

HOUR_S = 3600.0


class Stand:
    """A worker whose handler takes a message only when the test lets it."""

    def __init__(self, bus: EmbeddedBus, clock: ManualClock, folder: Path) -> None:
        self.bus, self.clock = bus, clock
        self.worker = Worker("g", Runtime(SiteConfig(), bus, clock, folder, Reporter(bus.producer, clock, "test")))
        self.worker.handle(DETECTIONS, self._handle)
        self.gates = {1: asyncio.Semaphore(0), 2: asyncio.Semaphore(0)}
        self.begun = 0

    async def _handle(self, message: DetectionsMessage) -> Sequence[Outgoing[Any]]:
        self.begun += 1
        await self.gates[message.channel_number].acquire()
        return []

    async def send(self, number: int, count: int = 1) -> None:
        for sequence in range(count):
            message = DetectionsMessage(channel=f"cam{number}", channel_number=number, capture_ns=1, frame_sequence=sequence)
            await self.bus.producer.publish(DETECTIONS, message)

    async def handle(self, number: int) -> None:
        before = self.detail("handled")
        self.gates[number].release()
        await until(lambda: self.detail("handled") == before + 1, "one more is handled")

    def detail(self, name: str) -> int:
        return int(self.worker.health().details[name])


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    clock = ManualClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    stand = Stand(bus, clock, tmp_path)
    await stand.worker.start()
    await until(lambda: stand.worker.health().ok, "it runs")
    yield stand
    for gate in stand.gates.values():
        for _ in range(10):
            gate.release()
    await stand.worker.stop()
    await bus.stop()


async def test_a_message_after_a_quiet_hour_is_no_stall(stand: Stand) -> None:
    stand.clock.advance(HOUR_S)
    assert stand.worker.health().ok
    await stand.send(1)
    await until(lambda: stand.detail("lag") == 1, "it waits")
    assert stand.worker.health().ok
    stand.clock.advance(STALLED_AFTER_S / 2)
    assert stand.worker.health().ok


async def test_slow_is_not_stuck(stand: Stand) -> None:
    await stand.send(1, 6)
    await until(lambda: stand.detail("lag") == 6, "they wait")
    for _ in range(4):
        stand.clock.advance(STALLED_AFTER_S * 0.9)
        assert stand.worker.health().ok
        await stand.handle(1)
    assert stand.detail("lag") == 2


async def test_who_handles_none_for_the_limit_is_stuck_until_one_is_handled(stand: Stand) -> None:
    await stand.send(1, 2)
    await until(lambda: stand.begun == 1, "one is in hand")
    stand.clock.advance(STALLED_AFTER_S + 1)
    health = stand.worker.health()
    assert not health.ok
    assert health.summary == "stalled"
    await stand.handle(1)
    assert stand.worker.health().ok


async def test_one_channel_that_stands_still_is_told_while_another_goes_on(stand: Stand) -> None:
    await stand.send(1)
    await stand.send(2, 4)
    await until(lambda: stand.begun == 2, "both are in hand")
    stand.clock.advance(STALLED_AFTER_S * 0.6)
    await stand.handle(2)
    assert stand.worker.health().ok
    stand.clock.advance(STALLED_AFTER_S * 0.6)
    assert not stand.worker.health().ok
    await stand.handle(1)
    assert stand.worker.health().ok
