"""Faust workers over a real Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete  # type: ignore[import-untyped]  # aiokafka is untyped

from shared.bus.kafka import KafkaBus
from shared.domain.clock import ManualClock
from shared.faust.worker import LOOK_EVERY_S
from shared.messages import DeadLetter
from shared.topics import DEAD_LETTERS, DETECTIONS
from tests.contract.worker_contract import Story, WorkerContract, detections, story
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.waiting import until

__all__ = ["story"]  # a fixture

pytestmark = pytest.mark.integration


@pytest.fixture
async def bus(broker: KafkaServer) -> AsyncIterator[KafkaBus]:
    async with connected(broker) as bus:
        yield bus


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
    await until(lambda: story.of(1) == [0, 1], "what is before and behind it is handled")
    letter = (await story.collect(letters, bool))[0]
    assert isinstance(letter, DeadLetter)
    assert letter.origin.startswith("detections/1/")
    assert letter.raw == b"{not json"


async def test_messages_that_have_expired_are_not_waited_for(story: Story, broker: KafkaServer) -> None:
    """After an outage longer than the topic's retention what was not read is gone: that is no backlog, and the worker is not stuck."""
    first = await story.worker("a")
    await story.publish([1], [0])
    await until(lambda: story.of(1) == [0], "the first is handled")
    await first.stop()
    await story.publish([1], range(1, 6))
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    everything = RecordsToDelete(before_offset=-1)  # up to the newest
    await admin.delete_records({TopicPartition(DETECTIONS.name, DETECTIONS.partition_of(detections("", 1, 0))): everything})
    await admin.close()
    clock = ManualClock()
    story.runtime = replace(story.runtime, clock=clock)
    second = await story.worker("b")
    await until(lambda: second.health().details["lag"] == 5, "it has heard where the partition ends")

    def nothing_waits() -> bool:
        clock.advance(LOOK_EVERY_S)
        return second.health().details["lag"] == 0

    await until(nothing_waits, "and that it begins there too")
    await story.publish([1], [6])
    await until(lambda: story.of(1) == [0, 6], "the newest is handled")


async def test_a_channel_that_has_more_than_it_can_take_is_handled_in_order(story: Story) -> None:
    """Sixty times six messages at once, which pauses a lane."""
    await story.worker("a")
    for first in range(0, 360, 6):
        await story.publish([1], range(first, first + 6))
    await until(lambda: story.of(1)[-1:] == [359], "the last is handled", deadline_s=120)
    assert story.of(1) == list(range(360))
