"""By whose clock the broker keeps messages: its own, so that nobody else's has to be right. Frames alone have their publisher's."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # as above
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # as above

from shared.domain.clock import NS_PER_MS, SystemClock, seconds_to_ns
from shared.messages import SegmentMessage
from shared.topics import ALL, FRAMES, SEGMENTS
from tests.contract.bus_contract import frame, read, segment
from tests.support.clocks import SetClock
from tests.support.kafka import KafkaServer, running_broker
from tests.support.kafka_bus import connected
from tests.support.kafka_topics import settings_of
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.servers]

#: The broker looks for what it need not keep any more every second, not every five minutes.
BUSY = "\n".join(("log.retention.check.interval.ms=1000", "log.segment.delete.delay.ms=1000", "log.initial.task.delay.ms=1000", ""))
CHANNEL = 1


async def test_footage_of_a_recorder_whose_clock_is_behind_waits_for_storage_as_long_as_any() -> None:
    clock = SetClock()
    clock.set_by_ns = seconds_to_ns(-40 * 60)  # more than segments are kept for
    payloads = [bytes([number]) * 1000 for number in range(6)]
    with running_broker(settings=BUSY) as server:
        async with connected(server, clock) as bus:
            for first in (0, 3):  # twice: between the two the broker has looked at all there is
                for payload in payloads[first : first + 3]:
                    await bus.producer.publish(SEGMENTS, segment(CHANNEL, payload))
                await bus.producer.publish(FRAMES, frame(CHANNEL))
                await until(lambda: empty(server, FRAMES.name), "the broker has let frames go, kept for two minutes of this clock")
            storage = await bus.consumer([SEGMENTS], group="storage")
            found = [record.message for record in await read(storage, len(payloads))]
    assert [message.payload for message in found if isinstance(message, SegmentMessage)] == payloads


async def empty(server: KafkaServer, topic: str) -> bool:
    """Whether what was written to the channel's partition is there no longer."""
    consumer = AIOKafkaConsumer(bootstrap_servers=server.address)
    await consumer.start()
    try:
        partition = TopicPartition(topic, CHANNEL)
        first, end = await consumer.beginning_offsets([partition]), await consumer.end_offsets([partition])
        return bool(0 < end[partition] == first[partition])
    finally:
        await consumer.stop()


async def test_a_recorder_whose_clock_is_a_day_ahead_publishes_footage_and_frames(broker: KafkaServer) -> None:
    clock = SetClock()
    clock.set_by_ns = seconds_to_ns(24 * 3600)
    async with connected(broker, clock) as bus:
        consumer = await bus.consumer([SEGMENTS, FRAMES], group="g")
        published_ns = clock.now_ns()
        for message in (segment(CHANNEL, b"1"), segment(CHANNEL, b"2")):
            await bus.producer.publish(SEGMENTS, message)
        for _ in range(2):
            await bus.producer.publish(FRAMES, frame(CHANNEL).model_copy(update={"published_ns": published_ns}))
        found = await read(consumer, 4)
        assert bus.trouble() == ""
    for record in found:
        if record.position.topic == SEGMENTS.name:
            assert record.timestamp_ns < published_ns - seconds_to_ns(12 * 3600), "the time of the broker"
        else:
            assert record.timestamp_ns // NS_PER_MS >= published_ns // NS_PER_MS, "that by which frames are looked up"


async def test_topics_that_exist_are_altered_and_keep_all_else(own_broker: KafkaServer) -> None:
    async with connected(own_broker, SystemClock()):
        made = await settings_of(own_broker, *(topic.name for topic in ALL))
    assert {name: own["message.timestamp.type"] for name, own in made.items()} == {
        topic.name: "CreateTime" if topic is FRAMES else "LogAppendTime" for topic in ALL
    }
    assert made[FRAMES.name]["message.timestamp.after.max.ms"] == str(2**63 - 1)
    made[SEGMENTS.name]["delete.retention.ms"] = "1234567"  # somebody's own
    admin = AIOKafkaAdminClient(bootstrap_servers=own_broker.address)
    await admin.start()
    for name in made:  # as they were made before
        before = {key: value for key, value in made[name].items() if not key.startswith("message.timestamp.")}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, before)])
    await admin.close()

    await until(lambda: as_before(own_broker), "the broker knows them as they were before")
    async with connected(own_broker, SystemClock()):

        async def as_made() -> bool:
            return await settings_of(own_broker, *made) == made

        await until(as_made, "they are as they are made now")


async def as_before(server: KafkaServer) -> bool:
    own = await settings_of(server, *(topic.name for topic in ALL))
    return not any(key.startswith("message.timestamp.") for settings in own.values() for key in settings)
