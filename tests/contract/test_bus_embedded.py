"""The embedded bus keeps the contract, and its own promises: bounds, back-pressure, durable acknowledgements, values by reference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.domain.clock import SystemClock
from shared.domain.errors import BusUnavailable
from shared.topics import ALL, OnFull
from tests.contract.bus_contract import DEADLINE_S, BusContract, Topics, event, frame, ids, positions, read, segment


@pytest.fixture
async def bus() -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
def topics() -> Topics:
    return Topics.named("x")


class TestEmbeddedBus(BusContract):
    pass


async def spin() -> None:
    """Let every task that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_values_pass_by_reference(bus: EmbeddedBus, topics: Topics) -> None:
    consumer = await bus.consumer([topics.frames], group="g")
    sent = frame(0)
    await bus.producer.publish(topics.frames, sent)
    assert (await read(consumer, 1))[0].message is sent


async def test_a_full_blocking_partition_makes_its_writers_wait_in_order_and_no_others(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.events, capacity=3)
    consumer = await bus.consumer([topic], group="g")
    writers = [asyncio.create_task(bus.publish(topic, event(0, n))) for n in range(6)]
    await spin()
    assert [writer.done() for writer in writers] == [True] * 3 + [False] * 3
    await asyncio.wait_for(bus.publish(topic, event(1, "other partition")), DEADLINE_S)
    records = await read(consumer, 4)
    assert not writers[3].done()  # reading makes no room: only a commit does
    await consumer.commit(positions(records)[:1])
    await asyncio.wait_for(writers[3], DEADLINE_S)
    assert not writers[4].done()
    await consumer.commit(positions(records))
    await asyncio.gather(*writers)
    assert ids(await read(consumer, 3)) == ["3", "4", "5"]


async def test_payload_bytes_are_bounded_too(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.segments, capacity_bytes=1000)
    consumer = await bus.consumer([topic], group="g")
    await bus.publish(topic, segment(0, bytes(600)))
    late = asyncio.create_task(bus.publish(topic, segment(0, bytes(500))))
    await spin()
    assert not late.done()
    await consumer.commit(positions(await read(consumer, 1)))
    await asyncio.wait_for(late, DEADLINE_S)


async def test_one_message_larger_than_the_capacity_passes_alone(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.segments, capacity_bytes=100)
    consumer = await bus.consumer([topic], group="g")
    await asyncio.wait_for(bus.publish(topic, segment(0, bytes(5000))), DEADLINE_S)
    assert len(await read(consumer, 1)) == 1


async def test_a_writer_that_was_cancelled_leaves_no_message(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.events, capacity=1)
    consumer = await bus.consumer([topic], group="g")
    await bus.publish(topic, event(0, "a"))
    cancelled = asyncio.create_task(bus.publish(topic, event(0, "b")))
    waits = asyncio.create_task(bus.publish(topic, event(0, "c")))
    await spin()
    cancelled.cancel()
    await spin()
    await consumer.commit(positions(await read(consumer, 1)))
    await asyncio.wait_for(waits, DEADLINE_S)
    assert ids(await read(consumer, 1)) == ["c"]


async def test_a_slow_group_skips_in_a_dropping_topic_and_knows_how_many(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.events, capacity=4, on_full=OnFull.DROP_OLDEST)
    consumer = await bus.consumer([topic], group="g")
    for n in range(3):
        await bus.publish(topic, event(0, n))
    await read(consumer, 2)
    for n in range(3, 20):
        await asyncio.wait_for(bus.publish(topic, event(0, n)), DEADLINE_S)
    assert ids(await read(consumer, 4)) == ["16", "17", "18", "19"]
    assert consumer.skipped == 14


async def test_a_slow_live_reader_never_blocks_a_writer(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.events, capacity=4)
    group = await bus.consumer([topic], group="g")
    live = await bus.consumer([topic], group=None)
    for n in range(10):
        await asyncio.wait_for(bus.publish(topic, event(0, n)), DEADLINE_S)
        await group.commit(positions(await read(group, 1)))
    assert ids(await read(live, 4)) == ["6", "7", "8", "9"]
    assert live.skipped == 6


async def test_a_live_reader_that_keeps_up_misses_nothing(bus: EmbeddedBus, topics: Topics) -> None:
    group = await bus.consumer([topics.events], group="g")
    live = await bus.consumer([topics.events], group=None)
    for n in range(10):
        await bus.publish(topics.events, event(0, n))
    await group.commit(positions(await read(group, 10)))
    assert len(await read(live, 10)) == 10


async def test_a_blocking_topic_without_any_group_keeps_the_newest_and_blocks_nobody(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.events, capacity=5)
    for n in range(100):
        await asyncio.wait_for(bus.publish(topic, event(0, n)), DEADLINE_S)
    late = await bus.consumer([topic], group="g")
    assert ids(await read(late, 5)) == [str(n) for n in range(95, 100)]


async def test_messages_that_all_groups_committed_are_forgotten(bus: EmbeddedBus, topics: Topics) -> None:
    consumers = [await bus.consumer([topics.events], group=group) for group in ("g", "h")]
    await bus.publish(topics.events, event(0, 1))
    for consumer in consumers:
        await consumer.commit(positions(await read(consumer, 1)))
    newcomer = await bus.consumer([topics.events], group="i")
    assert await newcomer.poll(timeout_s=0) == []


async def test_a_durable_message_is_acknowledged_when_its_groups_committed(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.segments, durable_by=("storage",))
    acknowledged = await bus.enqueue(topic, segment(0, b"x"))
    other = await bus.consumer([topic], group="other")
    await other.commit(positions(await read(other, 1)))
    await spin()
    assert not acknowledged.done()  # storage has not even joined
    storage = await bus.consumer([topic], group="storage", from_start=False)  # a durable group begins at the oldest all the same
    records = await read(storage, 1)
    assert not acknowledged.done()
    await storage.commit(positions(records))
    assert await asyncio.wait_for(acknowledged, DEADLINE_S) == records[0].position


async def test_durable_messages_wait_for_their_group_bounded(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.segments, durable_by=("storage",), capacity=2)
    for _ in range(2):
        await bus.enqueue(topic, segment(0, b"x"))
    third = asyncio.create_task(bus.enqueue(topic, segment(0, b"x")))
    await spin()
    assert not third.done()
    third.cancel()


async def test_stop_tells_the_owners_of_messages_that_are_not_durable(bus: EmbeddedBus, topics: Topics) -> None:
    topic = replace(topics.segments, durable_by=("storage",), capacity=1)
    acknowledged = await bus.enqueue(topic, segment(0, b"x"))
    waits = asyncio.create_task(bus.enqueue(topic, segment(0, b"y")))
    await spin()
    await bus.stop()
    for future in (acknowledged, waits):
        with pytest.raises(BusUnavailable):
            await future


async def test_partitions_take_turns(bus: EmbeddedBus, topics: Topics) -> None:
    consumer = await bus.consumer([topics.events], group="g")
    for n in range(20):
        await bus.publish(topics.events, event(0, f"busy {n}"))
    await bus.publish(topics.events, event(1, "quiet"))
    await consumer.poll(max_records=5)
    assert "quiet" in ids(await consumer.poll(max_records=5))


async def test_members_of_a_group_read_the_same_topics(bus: EmbeddedBus, topics: Topics) -> None:
    await bus.consumer([topics.events], group="g")
    with pytest.raises(ValueError, match="group 'g' reads"):
        await bus.consumer([topics.more], group="g")


async def test_a_channel_has_one_reader_over_all_topics(bus: EmbeddedBus, topics: Topics) -> None:
    members = [await bus.consumer([topics.events, topics.more], group="g") for _ in range(3)]
    for member in members:
        numbers = {name: {p for t, p in member.assignment() if t == name} for name in (topics.events.name, topics.more.name)}
        assert numbers[topics.events.name] == numbers[topics.more.name]


async def test_partitions_are_handed_over_in_peace(bus: EmbeddedBus, topics: Topics) -> None:
    calls: list[str] = []
    old = bus.join([topics.events], group="g", on_rebalance=lambda: calls.append("old"))
    for n in range(8):
        await bus.publish(topics.events, event(n % 4, n))
    records = await read(old, 8)
    calls.clear()
    new = await bus.consumer([topics.events], group="g")
    assert calls == ["old"]
    assert len(old.leaving()) == 2
    assert new.assignment() == frozenset()
    await old.commit(positions(records))
    leaving = old.leaving()
    old.hand_over()
    assert new.assignment() == leaving
    assert await new.poll(timeout_s=0) == []


async def test_every_declared_topic_can_be_opened(bus: EmbeddedBus) -> None:
    await bus.consumer(ALL, group="everything")


async def test_what_is_committed_after_its_partition_left_and_came_back_is_not_read_again(bus: EmbeddedBus, topics: Topics) -> None:
    first = await bus.consumer([topics.events], group="g")
    for number in range(4):
        await bus.publish(topics.events, event(number, number))
    records = await read(first, 4)
    for other in [await bus.consumer([topics.events], group="g") for _ in range(3)]:
        await other.close()
    await first.commit(positions(records))
    assert await first.poll(timeout_s=0) == []
