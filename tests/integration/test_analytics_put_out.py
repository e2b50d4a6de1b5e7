"""A worker that loses its place in the group while it takes channels over: the broker refuses to have them read again, at first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # aiokafka is untyped

from services.analytics.adapters.state_store import StateFiles
from services.analytics.app import AnalyticsService
from services.analytics.state import Claim
from shared.bus.kafka import KafkaBus
from shared.bus.port import Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import DetectionsMessage, FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS, FRAMES
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.kafka_groups import put_out
from tests.support.waiting import until
from tests.support.walker import HEIGHT, WIDTH, floor, walker_model

pytestmark = pytest.mark.integration

GROUP = "analytics"


class StandingClock(SystemClock):
    """On which it is always the same time of day: frames get no older while a busy machine takes its time."""

    def __init__(self) -> None:
        self._now_ns = super().now_ns()

    def now_ns(self) -> int:
        return self._now_ns


class PuttingOut(StateFiles):
    """States in files. Whoever claims channels is put out of its group, once."""

    def __init__(self, folder: Path, broker: str) -> None:
        super().__init__(folder)
        self._broker = broker
        self.put_out = self.claimed_again = 0

    async def claim(self, channels: Sequence[str]) -> dict[str, Claim]:
        claims = await super().claim(channels)
        if self.put_out:
            self.claimed_again += 1
        else:
            self.put_out = await put_out(self._broker, GROUP)
        return claims


class Site:
    """One channel, whose camera and workers the test plays."""

    def __init__(self, bus: KafkaBus, looked: Consumer, runtime: Runtime) -> None:
        self._bus, self._looked, self._runtime = bus, looked, runtime
        self.looked: list[int] = []

    async def show(self, *sequences: int) -> None:
        for sequence in sequences:
            now_ns = self._runtime.clock.now_ns()
            frame = FrameMessage(
                channel="room", channel_number=1, session="s", sequence=sequence, published_ns=now_ns, capture_ns=now_ns + sequence,
                source_width=WIDTH, source_height=HEIGHT, picture=floor(None),
            )  # fmt: skip
            await self._bus.producer.publish(FRAMES, frame)

    async def looked_at(self, sequence: int) -> None:
        """Wait until a worker has told what it saw in a frame."""

        async def told() -> bool:
            for record in await self._looked.poll(timeout_s=0.2):
                assert isinstance(record.message, DetectionsMessage)
                self.looked.append(record.message.frame_sequence)
            return sequence in self.looked

        await until(told, f"frame {sequence} is looked at", deadline_s=180)

    @asynccontextmanager
    async def worker(self, store: StateFiles) -> AsyncIterator[AnalyticsService]:
        service = AnalyticsService(self._runtime, store)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


@pytest.fixture
async def site(broker: KafkaServer, tmp_path: Path) -> AsyncIterator[Site]:
    config = {
        "data_dir": str(tmp_path),
        "channels": [{"id": "room", "number": 1, "main": {"url": "rtsp://camera/room"}}],
        "analytics": {"model": str(walker_model(tmp_path / "walker.onnx")), "engine": "onnx", "input_width": WIDTH, "input_height": HEIGHT},
    }
    clock = StandingClock()
    async with connected(broker) as bus:
        runtime = Runtime(SiteConfig.model_validate(config), bus, clock, tmp_path, Reporter(bus.producer, clock, "test"))
        yield Site(bus, await bus.consumer([DETECTIONS], group=None), runtime)


async def committed_by_a_worker_that_died(broker: str, frames: int) -> None:
    """Its last frames were handled and committed; of the state it had not saved them."""
    partition = TopicPartition(FRAMES.name, 1 % FRAMES.partitions)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([partition])
    await consumer.commit({partition: frames})
    await consumer.stop()


async def test_frames_that_could_not_be_read_again_at_once_are_looked_at_later(site: Site, broker: KafkaServer, tmp_path: Path) -> None:
    async with site.worker(StateFiles(tmp_path / "states")):
        await site.show(*range(5))
        await site.looked_at(4)
    await site.show(*range(5, 10))
    await committed_by_a_worker_that_died(broker.address, 10)
    store = PuttingOut(tmp_path / "states", broker.address)
    async with site.worker(store):
        await until(lambda: store.claimed_again, "it takes the channel a second time")
        assert store.put_out == 1
        await site.show(10)
        await site.looked_at(10)
    assert site.looked == list(range(11))
