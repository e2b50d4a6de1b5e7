"""Faust workers over a real Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # aiokafka is untyped

from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import SystemClock
from shared.messages import DeadLetter
from shared.topics import DEAD_LETTERS, DETECTIONS
from tests.contract.worker_contract import Story, WorkerContract, story, until
from tests.support.kafka import KafkaServer

__all__ = ["story"]  # a fixture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture
async def bus(broker: KafkaServer) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test")
    await bus.start()
    yield bus
    await bus.stop()


class TestWorkerOnKafka(WorkerContract):
    pass


async def test_bytes_that_are_no_message_become_a_dead_letter_and_the_stream_goes_on(story: Story, broker: KafkaServer) -> None:
    letters = await story.bus.consumer([DEAD_LETTERS], group=None)
    await story.worker("a")
    raw = AIOKafkaProducer(bootstrap_servers=broker.address)
    await raw.start()
    await story.publish([1], [0])
    await raw.send_and_wait(DETECTIONS.name, b"{not json", partition=1)
    await story.publish([1], [1])
    await raw.stop()
    await until(lambda: story.of(1) == [0, 1], story.handled)
    letter = (await story.collect(letters, bool))[0]
    assert isinstance(letter, DeadLetter)
    assert letter.origin.startswith("detections/1/")
    assert letter.raw == b"{not json"
