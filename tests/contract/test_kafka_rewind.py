"""Partitions that are to be read again, over a real Kafka: what becomes of it when they move again meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from shared.bus.kafka import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.app import add_agent, make_app
from shared.faust.moves import Entering, Partition
from shared.messages import DetectionsMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.kafka_groups import put_out
from tests.support.waiting import until

pytestmark = pytest.mark.integration

GROUP = "rewound"
NUMBER = 1
PARTITION = TP(DETECTIONS.name, NUMBER)


class Keeper:
    """Wants everything read again of the one partition that matters, when its consumer knows already where it would have gone on.

    Whoever has it is put out of the group first, where the test says so.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self.app: Any = None
        self.to_put_out = False

    async def leave(self) -> None:
        """Nothing is kept."""

    async def enter(self, partitions: frozenset[Partition]) -> Mapping[Partition, int]:
        await self.app.consumer.position(PARTITION)
        if self.to_put_out:
            self.to_put_out = False
            assert await put_out(self._broker, GROUP) == 1
        return {PARTITION: 0}


class Reader:
    """A Faust app that takes partitions up as the product's workers do."""

    def __init__(self, bus: KafkaBus, keeper: Keeper, folder: Path) -> None:
        clock = SystemClock()
        self.app = make_app(GROUP, Runtime(SiteConfig(), bus, clock, folder, Reporter(bus.producer, clock, "d")), [DETECTIONS])
        self._entering, keeper.app = Entering(keeper), self.app
        self.came: list[int] = []
        self.entered: list[str] = []
        self.app.on_partitions_revoked.connect(self._leave, weak=False)
        self.app.on_rebalance_complete.connect(self._enter, weak=False)
        add_agent(self.app, "rewound", DETECTIONS, lambda event: self.came.append(event.value.frame_sequence))
        self.app.finalize()
        self.app.loop = asyncio.get_running_loop()

    async def _leave(self, *_: Any, **__: Any) -> None:
        self._entering.give_up()

    async def _enter(self, app: Any, *_: Any, **__: Any) -> None:
        try:
            await self._entering.enter(app)
        except RebalanceAgain:
            self.entered.append("again")
            raise
        self.entered.append("read")


@pytest.fixture
async def bus(broker: KafkaServer) -> AsyncIterator[KafkaBus]:
    async with connected(broker) as bus:
        yield bus


async def test_what_the_broker_refused_to_have_read_again_is_read_again_later_from_its_first_message_on(
    bus: KafkaBus, broker: KafkaServer, tmp_path: Path
) -> None:
    keeper = Keeper(broker.address)
    reader = Reader(bus, keeper, tmp_path)
    for sequence in range(5):
        message = DetectionsMessage(channel="cam", channel_number=NUMBER, capture_ns=1, frame_sequence=sequence)
        await bus.producer.publish(DETECTIONS, message)
    await reader.app.start()
    try:
        await until(lambda: reader.came == list(range(5)), "all is read")
        await reader.app.consumer._commit({PARTITION: 5})
        keeper.to_put_out = True
        assert await put_out(broker.address, GROUP) == 1
        await until(lambda: len(reader.came) >= 10, "all is read again")
        assert reader.came[:10] == [*range(5), *range(5)]
        assert "again" in reader.entered
        assert reader.entered[-1] == "read"
    finally:
        await reader.app.stop()
