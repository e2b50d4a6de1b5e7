"""The Kafka bus keeps the contract, on a real broker, and its own promises: topics as declared, dead letters, a broker that goes away."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # aiokafka is untyped

from shared.bus.kafka import KafkaBus
from shared.bus.port import Consumer
from shared.config.services import MIB, BusRetention
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import SystemClock
from shared.domain.errors import BusUnavailable, ConfigError
from shared.messages import DeadLetter
from shared.topics import ALL, DEAD_LETTERS, FRAMES, SEGMENTS
from tests.contract.bus_contract import DEADLINE_S, BusContract, Topics, event, ids, positions, read
from tests.support.kafka import KafkaServer
from tests.support.kafka_topics import settings_of
from tests.support.waiting import until, until_connected

pytestmark = pytest.mark.integration

_NUMBERS = itertools.count()


@pytest.fixture
def topics() -> Topics:
    return Topics.named(str(next(_NUMBERS)))


@pytest.fixture
async def bus(broker: KafkaServer, topics: Topics) -> AsyncIterator[KafkaBus]:
    bus = connect(broker, topics)
    await bus.start()
    await until_connected(bus)
    yield bus
    await bus.stop()


def connect(broker: KafkaServer, topics: Topics) -> KafkaBus:
    return KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test", topics=(*topics.all, DEAD_LETTERS))


class TestKafkaBus(BusContract):
    pass


async def test_bytes_that_are_no_message_go_to_the_dead_letters(broker: KafkaServer, bus: KafkaBus, topics: Topics) -> None:
    letters = await bus.consumer([DEAD_LETTERS], group=None)
    raw = AIOKafkaProducer(bootstrap_servers=broker.address)
    await raw.start()
    await raw.send_and_wait(topics.events.name, b"{not json", partition=0)
    await raw.stop()
    await bus.producer.publish(topics.events, event(0, "good"))
    consumer = await bus.consumer([topics.events], group="g")
    records = await read(consumer, 1)
    assert ids(records) == ["good"]
    letter = (await read(letters, 1))[0].message
    assert isinstance(letter, DeadLetter)
    assert (letter.origin, letter.raw) == (f"{topics.events.name}/0/0", b"{not json")
    await consumer.commit(positions(records))
    assert consumer.lag() == 0


async def test_topics_are_made_as_declared(broker: KafkaServer) -> None:
    bus = KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test")
    await bus.start()
    await until_connected(bus)
    await bus.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics([t.name for t in ALL])}
        assert found == {topic.name: topic.partitions for topic in ALL}
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, t.name) for t in (SEGMENTS, FRAMES)])
    finally:
        await admin.close()
    settings = {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for answer in answers for resource in answer.resources}
    assert int(settings["segments"]["max.message.bytes"]) >= 16 * 1024 * 1024
    assert settings["segments"]["retention.bytes"] == str(SEGMENTS.retention_bytes)
    assert settings["segments"]["segment.bytes"] == str(128 * 1024 * 1024)
    assert settings["frames"]["retention.ms"] == "120000"


async def test_what_the_brokers_keep_is_what_the_site_says_also_of_topics_that_exist(own_broker: KafkaServer) -> None:
    async def started(**retention: int) -> None:
        config = KafkaConfig(brokers=(own_broker.address,), retention=BusRetention(**retention))
        bus = KafkaBus(config, SystemClock(), client_id="test", topics=(SEGMENTS, FRAMES))
        await bus.start()
        await until_connected(bus)
        assert bus.trouble() == ""
        await bus.stop()

    async def have(segments: dict[str, str], frames: dict[str, str]) -> bool:
        """A broker takes a moment to know what was altered."""
        return await settings_of(own_broker, "segments", "frames") == {"segments": segments, "frames": frames}

    await started(frames_bytes=512 * MIB)
    made = await settings_of(own_broker, "segments", "frames")
    assert (made["segments"]["retention.bytes"], made["frames"]["retention.bytes"]) == (str(SEGMENTS.retention_bytes), str(512 * MIB))
    admin = AIOKafkaAdminClient(bootstrap_servers=own_broker.address)
    await admin.start()
    by_hand = made["segments"] | {"delete.retention.ms": "1234567"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "segments", by_hand)])
    await admin.close()
    await until(lambda: have(by_hand, made["frames"]), what="the brokers know what was set by hand", deadline_s=60)

    larger = by_hand | {"retention.bytes": str(5 * 1024 * MIB)}  # and nothing else of the topic changes, nor what the site does not say
    await started(segments_bytes=5 * 1024 * MIB)
    await until(lambda: have(larger, made["frames"]), what="the topic keeps what the site says", deadline_s=60)
    await started(segments_bytes=5 * 1024 * MIB)
    await started()
    assert await have(larger, made["frames"])


async def test_a_topic_with_other_partitions_is_refused(broker: KafkaServer, bus: KafkaBus, topics: Topics) -> None:
    other = replace(topics.events, partitions=8)
    wrong = KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test", topics=(other,))
    try:
        await wrong.start()
    except ConfigError as refused:
        why = str(refused)
    else:  # the first attempt took longer than `start` waits
        await until(lambda: "partitions" in wrong.trouble(), "it is refused")
        why = wrong.trouble()
    assert "has 4 partitions, 8 are needed" in why
    await wrong.stop()


async def test_a_topic_that_is_refused_late_is_tried_again_until_someone_has_mended_it(broker: KafkaServer, topics: Topics) -> None:
    """What `start` finds in time it raises. What is found when it is over is no end: a process that runs must not stay without a bus."""
    made = connect(broker, topics)
    await made.start()
    await until_connected(made)
    await made.stop()
    more = replace(topics.events, partitions=8)
    bus = KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test", topics=(more,))
    broker.process.send_signal(signal.SIGSTOP)  # the first attempt has begun when `start` is over, and has no answer
    try:
        await bus.start()
    finally:
        broker.process.send_signal(signal.SIGCONT)
    await until(lambda: "has 4 partitions, 8 are needed" in bus.trouble(), "it is refused")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_partitions({more.name: NewPartitions(total_count=8)})
    await admin.close()
    await until_connected(bus)
    assert bus.trouble() == ""
    await bus.stop()


async def test_without_a_broker_the_bus_starts_says_so_and_connects_when_one_comes(broker: KafkaServer, topics: Topics) -> None:
    await asyncio.to_thread(broker.kill)
    bus = connect(broker, topics)
    await bus.start()
    await until(lambda: bus.trouble() == f"kafka {broker.address}: the broker does not answer (is it running?)", "it says so")
    with pytest.raises(BusUnavailable):
        await bus.producer.publish(topics.events, event(0, "early"))
    joining = asyncio.create_task(bus.consumer([topics.events], group="g"))
    await asyncio.to_thread(broker.restart)
    consumer = await asyncio.wait_for(joining, 60)
    assert bus.trouble() == ""
    await bus.producer.publish(topics.events, event(0, "good"))
    assert ids(await read(consumer, 1)) == ["good"]
    await bus.stop()


async def test_a_broker_that_goes_away_is_told_also_to_who_publishes_nothing(broker: KafkaServer, bus: KafkaBus) -> None:
    assert bus.trouble() == ""
    await asyncio.to_thread(broker.kill)
    try:
        await until(
            lambda: bus.trouble() == f"kafka {broker.address}: the broker does not answer (is it running?)", "it is told", deadline_s=120
        )
    finally:
        await asyncio.to_thread(broker.restart)
    await until(lambda: not bus.trouble(), "it is back", deadline_s=120)


async def test_a_broker_that_hangs_is_told_and_messages_wait_for_it(broker: KafkaServer, bus: KafkaBus, topics: Topics) -> None:
    """Connections stay, and nothing is refused: only acknowledgements do not come."""
    broker.process.send_signal(signal.SIGSTOP)
    try:
        publishing = asyncio.create_task(bus.producer.publish(topics.events, event(0, "late")))
        await until(
            lambda: f"kafka {broker.address}: messages are not acknowledged" in bus.producer.trouble,
            "the producer tells it",
            deadline_s=120,
        )
        await until(lambda: f"kafka {broker.address}: the broker does not answer" in bus.trouble(), "the bus tells it", deadline_s=120)
    finally:
        broker.process.send_signal(signal.SIGCONT)
    await publishing
    await until(lambda: not bus.trouble(), "it is back", deadline_s=120)


async def test_who_waits_for_a_broker_that_never_comes_is_told_at_the_stop() -> None:
    bus = KafkaBus(KafkaConfig(brokers=("127.0.0.1:1",)), SystemClock(), client_id="test")
    await bus.start()
    joining = asyncio.create_task(bus.consumer([SEGMENTS], group="g"))
    await asyncio.sleep(0)
    await bus.stop()
    with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1"):
        await joining


async def test_a_killed_broker_that_comes_back_has_lost_nothing_acknowledged(broker: KafkaServer, bus: KafkaBus, topics: Topics) -> None:
    consumer = await bus.consumer([topics.events], group="g")
    await bus.producer.publish(topics.events, event(0, 0))
    await consumer.commit(positions(await read(consumer, 1)))
    await bus.producer.publish(topics.events, event(0, 1))
    await asyncio.to_thread(broker.kill)
    during = asyncio.create_task(bus.producer.publish(topics.events, event(0, 2)))
    await asyncio.to_thread(broker.restart)
    await asyncio.wait_for(during, DEADLINE_S)  # nobody had to do anything
    found = await read_until(consumer, "2")
    assert found[-2:] == ["1", "2"]


async def read_until(consumer: Consumer, last: str) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(2 * DEADLINE_S):
        while last not in found:
            found += ids(await consumer.poll(timeout_s=0.5))
    return found
