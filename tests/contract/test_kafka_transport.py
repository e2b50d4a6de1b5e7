"""Faust's polls over a real Kafka: what `shared/faust/kafka_transport.py` mends of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from faust.types import TP

from shared.bus.kafka import KafkaBus
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.app import add_agent, make_app
from shared.faust.kafka_transport import Transport, _Consumer
from shared.messages import DetectionsMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.waiting import until

pytestmark = pytest.mark.integration

NUMBER = 1
LANE = TP(DETECTIONS.name, NUMBER)
#: A poll's second may be over just when the partition goes on, and on a busy machine often is.
TRIES = 20


class CountedConsumer(_Consumer):
    """The consumer of the product, which counts its polls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.polls = 0
        self.newest = 0  # of the polls, which brought something

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109  # the signature is Faust's
        self.polls += 1
        number = self.polls
        records, active = await super()._wait_next_records(timeout)
        if records:
            self.newest = number
        return records, active

    @property
    def fetcher(self) -> Any:
        return self._thread._ensure_consumer()._fetcher

    def waits_with(self, tp: TP) -> bool:
        """Whether a poll waits though a message of this partition has been fetched."""
        fetcher = self.fetcher
        return tp in fetcher._records and any(not waiter.done() for waiter in tuple(fetcher._fetch_waiters))


class CountedTransport(Transport):
    Consumer: ClassVar[Any] = CountedConsumer


class Reading:
    """A Faust app that reads one topic, and what came of it."""

    def __init__(self, bus: KafkaBus, folder: Path) -> None:
        self._bus, clock = bus, SystemClock()
        self.app = make_app("counted", Runtime(SiteConfig(), bus, clock, folder, Reporter(bus.producer, clock, "d")), [DETECTIONS])
        self.app.transport = CountedTransport(bus.faust_url(), self.app, DETECTIONS.max_wait_ms)
        self.came: list[int] = []
        add_agent(self.app, "counted", DETECTIONS, lambda event: self.came.append(event.value.frame_sequence))
        self.app.finalize()
        self.app.loop = asyncio.get_running_loop()

    @property
    def consumer(self) -> CountedConsumer:
        consumer = self.app.consumer
        assert isinstance(consumer, CountedConsumer)
        return consumer

    async def publish(self, sequence: int) -> None:
        message = DetectionsMessage(channel="cam", channel_number=NUMBER, capture_ns=1, frame_sequence=sequence)
        await self._bus.producer.publish(DETECTIONS, message)

    async def has(self, sequence: int) -> None:
        await until(lambda: self.came[-1:] == [sequence], f"message {sequence} comes")


@pytest.fixture
async def reading(broker: KafkaServer, tmp_path: Path) -> AsyncIterator[Reading]:
    async with connected(broker) as bus:
        reading = Reading(bus, tmp_path)
        await reading.app.start()
        yield reading
        await reading.app.stop()


async def test_the_poll_that_waits_for_the_others_brings_what_a_partition_has_that_goes_on(reading: Reading) -> None:
    """Faust's own would wait until its second is over, and leave that to the next poll."""
    await reading.publish(0)
    await reading.has(0)
    consumer, waiting = reading.consumer, []
    for sequence in range(1, TRIES + 1):
        consumer.on_buffer_full(LANE)
        await reading.publish(sequence)
        await until(lambda: consumer.waits_with(LANE), "a poll waits for the others")
        number = consumer.polls
        consumer.on_buffer_drop(LANE)
        await reading.has(sequence)
        waiting.append(consumer.newest - number)
        if waiting[-1] == 0:
            break
    assert waiting[-1] == 0, f"it always was a later poll that brought it: {waiting}"


async def test_requests_wait_at_the_broker_no_longer_than_the_topics_allow(reading: Reading) -> None:
    await reading.publish(0)
    await reading.has(0)
    assert reading.consumer.fetcher._fetch_max_wait_ms == DETECTIONS.max_wait_ms
