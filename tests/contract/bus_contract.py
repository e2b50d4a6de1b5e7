"""What every bus keeps, as tests. Each adapter's test module inherits `BusContract` and gives the fixtures `bus` and `topics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from shared.bus.port import Bus, Consumer, Position, Record
from shared.domain.errors import BusUnavailable, MessageTooLarge
from shared.domain.media import Picture, StreamKind, VideoCodec
from shared.media.pictures import to_bgr
from shared.messages import EventKind, EventMessage, EventPhase, FrameMessage, Message, SegmentMessage
from shared.topics import MIB, Topic
from tests.support.waiting import until_connected

DEADLINE_S = 120.0


@dataclass(frozen=True)
class Topics:
    """Topics of one test; 4 partitions each."""

    events: Topic[EventMessage]
    more: Topic[EventMessage]
    segments: Topic[SegmentMessage]
    frames: Topic[FrameMessage]

    @classmethod
    def named(cls, suffix: str) -> Topics:
        def plain(name: str) -> Topic[EventMessage]:
            return Topic(f"{name}-{suffix}", EventMessage, 4, 3600 * 10**9, ("a",), ("b",))

        segments = Topic(f"segments-{suffix}", SegmentMessage, 4, 3600 * 10**9, ("a",), ("b",), max_message_bytes=16 * MIB)
        return cls(plain("events"), plain("more"), segments, Topic(f"frames-{suffix}", FrameMessage, 4, 3600 * 10**9, ("a",), ("b",)))

    @property
    def all(self) -> tuple[Topic[EventMessage] | Topic[SegmentMessage] | Topic[FrameMessage], ...]:
        return (self.events, self.more, self.segments, self.frames)


def event(number: int, name: object) -> EventMessage:
    return EventMessage(
        channel=f"cam{number}", channel_number=number, event_id=str(name), kind=EventKind.SMD, source="r", phase=EventPhase.STARTED,
        start_ns=1, at_ns=1,
    )  # fmt: skip


def segment(number: int, payload: bytes) -> SegmentMessage:
    return SegmentMessage(
        channel=f"cam{number}", channel_number=number, device="d", stream=StreamKind.MAIN, segment_id="s", session="x", sequence=0,
        start_ns=1, end_ns=2, duration_ns=1, frames=1, key_frames=1, size_bytes=len(payload), codec=VideoCodec.H264, width=2, height=2,
        parameters="p", sha256="0", payload=payload,
    )  # fmt: skip


def frame(number: int) -> FrameMessage:
    pixels = np.full((54, 64), 128, np.uint8)
    pixels[:36] = np.linspace(16, 235, 64, dtype=np.uint8)
    return FrameMessage(
        channel=f"cam{number}", channel_number=number, session="x", sequence=0, capture_ns=1, published_ns=1, source_width=64,
        source_height=36, picture=Picture(64, 36, i420=pixels),
    )  # fmt: skip


async def read(consumer: Consumer, count: int) -> list[Record[Message]]:
    """Exactly `count` messages; fails when they do not come."""
    records: list[Record[Message]] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(records) < count and time.monotonic() < deadline:
        records += await consumer.poll(max_records=count - len(records), timeout_s=0.2)
    assert len(records) == count
    return records


async def assigned(consumers: Sequence[Consumer], count: int) -> None:
    """Wait until the consumers together have `count` partitions, none twice, all of them some; reading makes rebalances happen."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        held = [consumer.assignment() for consumer in consumers]
        if all(held) and sum(map(len, held)) == count and len(frozenset().union(*held)) == count:
            return
        await asyncio.gather(*(consumer.poll(timeout_s=0.05) for consumer in consumers))
    raise AssertionError(f"partitions: {[sorted(consumer.assignment()) for consumer in consumers]}")


def ids(records: Sequence[Record[Message]]) -> list[str]:
    return [record.message.event_id for record in records if isinstance(record.message, EventMessage)]


def positions(records: Sequence[Record[Message]]) -> list[Position]:
    return [record.position for record in records]


class BusContract:
    async def test_a_partition_keeps_the_order_of_its_producer(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events], group="g")
        acknowledged = [await bus.producer.enqueue(topics.events, event(n % 3, n)) for n in range(60)]
        published = [await future for future in acknowledged]
        records = await read(consumer, 60)
        for number in range(3):
            assert [int(i) for i, r in zip(ids(records), records, strict=True) if r.key == f"cam{number}"] == list(range(number, 60, 3))
        assert sorted(positions(records)) == sorted(published)

    async def test_what_is_read_is_what_was_written(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events, topics.segments, topics.frames], group="g")
        sent_event, sent_segment, sent_frame = event(1, "e"), segment(2, bytes(range(256)) * 4 * 1024 * 8), frame(3)
        await bus.producer.publish(topics.events, sent_event)
        await bus.producer.publish(topics.segments, sent_segment)
        await bus.producer.publish(topics.frames, sent_frame)
        by_topic = {record.position.topic: record for record in await read(consumer, 3)}
        assert by_topic[topics.events.name].message == sent_event
        assert by_topic[topics.events.name].key == "cam1"
        assert by_topic[topics.events.name].timestamp_ns > 1_600_000_000 * 10**9
        assert by_topic[topics.segments.name].message == sent_segment
        received = by_topic[topics.frames.name].message
        assert isinstance(received, FrameMessage)
        assert received.model_copy(update={"picture": sent_frame.picture}) == sent_frame
        difference = to_bgr(received.picture).astype(int) - to_bgr(sent_frame.picture)
        assert np.abs(difference).mean() < 3  # across a broker it went through JPEG

    async def test_partitions_follow_the_channel_number(self, bus: Bus, topics: Topics) -> None:
        written = [await bus.producer.publish(topics.events, event(number, number)) for number in range(10)]
        assert [position.partition for position in written] == [number % 4 for number in range(10)]

    async def test_offsets_rise(self, bus: Bus, topics: Topics) -> None:
        written = [await bus.producer.publish(topics.events, event(0, n)) for n in range(5)]
        assert [p.offset for p in written] == sorted({p.offset for p in written})

    async def test_uncommitted_messages_come_again_and_committed_ones_do_not(self, bus: Bus, topics: Topics) -> None:
        for n in range(6):
            await bus.producer.publish(topics.events, event(0, n))
        first = await bus.consumer([topics.events], group="g")
        records = await read(first, 6)
        await first.commit(positions(records)[:3])
        await first.close()
        second = await bus.consumer([topics.events], group="g")
        assert ids(await read(second, 3)) == ["3", "4", "5"]
        assert await second.poll(timeout_s=0.2) == []

    async def test_an_older_commit_changes_nothing(self, bus: Bus, topics: Topics) -> None:
        for n in range(4):
            await bus.producer.publish(topics.events, event(0, n))
        first = await bus.consumer([topics.events], group="g")
        records = await read(first, 4)
        await first.commit([records[2].position])
        await first.commit([records[0].position])
        await first.close()
        second = await bus.consumer([topics.events], group="g")
        assert ids(await read(second, 1)) == ["3"]

    async def test_members_of_a_group_share_the_partitions(self, bus: Bus, topics: Topics) -> None:
        members = [await bus.consumer([topics.events], group="g"), await self._second(bus, topics)]
        await assigned(members, 4)
        assert [len(member.assignment()) for member in members] == [2, 2]
        for n in range(40):
            await bus.producer.publish(topics.events, event(n % 4, n))
        batches = [await read(member, 20) for member in members]
        assert sorted(int(i) for batch in batches for i in ids(batch)) == list(range(40))
        for member, batch in zip(members, batches, strict=True):
            assert {(r.position.topic, r.position.partition) for r in batch} == member.assignment()

    async def test_partitions_of_a_member_that_leaves_go_on_at_the_committed_offset(self, bus: Bus, topics: Topics) -> None:
        stays, leaves = await bus.consumer([topics.events], group="g"), await self._second(bus, topics)
        await assigned([stays, leaves], 4)
        for n in range(40):
            await bus.producer.publish(topics.events, event(n % 4, n))
        mine, theirs = await read(stays, 20), await read(leaves, 20)
        await stays.commit(positions(mine))
        handled = theirs[:7]
        await leaves.commit(positions(handled))
        await leaves.close()
        again = await read(stays, 13)
        assert sorted(ids(again)) == sorted(ids(theirs[7:]))
        assert await stays.poll(timeout_s=0.2) == []

    async def test_positions_of_partitions_that_moved_are_not_committed(self, bus: Bus, topics: Topics) -> None:
        for n in range(8):
            await bus.producer.publish(topics.events, event(n % 4, n))
        first = await bus.consumer([topics.events], group="g")
        everything = await read(first, 8)
        second = await self._second(bus, topics)
        await assigned([first, second], 4)
        lost = second.assignment()
        await first.commit(positions(everything))
        await second.close()
        third = await self._second(bus, topics)
        await first.close()
        again = await read(third, 4)
        assert {(r.position.topic, r.position.partition) for r in again} == lost

    async def test_groups_do_not_share(self, bus: Bus, topics: Topics) -> None:
        await bus.producer.publish(topics.events, event(0, "one"))
        for group in ("g", "h"):
            consumer = await bus.consumer([topics.events], group=group)
            assert ids(await read(consumer, 1)) == ["one"]

    async def test_a_group_can_begin_with_new_messages(self, bus: Bus, topics: Topics) -> None:
        await bus.producer.publish(topics.events, event(0, "old"))
        consumer = await bus.consumer([topics.events], group="g", from_start=False)
        await bus.producer.publish(topics.events, event(0, "new"))
        assert ids(await read(consumer, 1)) == ["new"]

    async def test_a_live_reader_sees_everything_from_now_on(self, bus: Bus, topics: Topics) -> None:
        await bus.producer.publish(topics.events, event(0, "before"))
        live = [await bus.consumer([topics.events], group=None) for _ in range(2)]
        for n in range(8):
            await bus.producer.publish(topics.events, event(n % 4, n))
        for reader in live:
            records = await read(reader, 8)
            assert sorted(ids(records)) == [str(n) for n in range(8)]
            await reader.commit(positions(records))  # means nothing

    async def test_a_poll_gives_at_most_what_was_asked_for_and_nothing_is_lost(self, bus: Bus, topics: Topics) -> None:
        for n in range(10):
            await bus.producer.publish(topics.events, event(0, n))
        consumer = await bus.consumer([topics.events], group="g")
        found: list[str] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < 10 and time.monotonic() < deadline:
            records = await consumer.poll(max_records=3, timeout_s=0.5)
            assert len(records) <= 3
            found += ids(records)
        assert found == [str(n) for n in range(10)]
        assert await consumer.poll(timeout_s=0.05) == []

    async def test_a_waiting_poll_is_woken(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events], group="g")
        waiting = asyncio.create_task(consumer.poll(timeout_s=DEADLINE_S))
        await asyncio.sleep(0)  # it waits, before anything is there
        await bus.producer.publish(topics.events, event(0, "x"))
        assert ids(await asyncio.wait_for(waiting, DEADLINE_S / 2)) == ["x"]

    async def test_a_group_reads_several_topics(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events, topics.more], group="g")
        await bus.producer.publish(topics.events, event(0, "a"))
        await bus.producer.publish(topics.more, event(0, "b"))
        assert sorted(ids(await read(consumer, 2))) == ["a", "b"]

    async def test_a_message_that_is_too_large_is_refused_at_once(self, bus: Bus, topics: Topics) -> None:
        with pytest.raises(MessageTooLarge, match=topics.segments.name):
            await bus.producer.enqueue(topics.segments, segment(0, bytes(16 * MIB + 1)))
        await bus.producer.publish(topics.segments, segment(0, bytes(16 * MIB)))

    async def test_lag_counts_what_was_not_given(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events], group="g")
        for n in range(12):
            await bus.producer.publish(topics.events, event(n % 2, n))
        await read(consumer, 12)
        assert consumer.lag() == 0
        assert consumer.skipped == 0

    async def test_a_closed_consumer_is_closed(self, bus: Bus, topics: Topics) -> None:
        consumer = await bus.consumer([topics.events], group="g")
        await consumer.close()
        await consumer.close()
        assert consumer.assignment() == frozenset()
        with pytest.raises(BusUnavailable):
            await consumer.poll(timeout_s=0.1)

    async def test_a_stopped_bus_is_unavailable_and_can_be_started_again(self, bus: Bus, topics: Topics) -> None:
        await bus.stop()
        await bus.stop()
        with pytest.raises(BusUnavailable):
            await bus.producer.publish(topics.events, event(0, "x"))
        await bus.start()
        await until_connected(bus)
        await bus.producer.publish(topics.events, event(0, "x"))

    async def _second(self, bus: Bus, topics: Topics) -> Consumer:
        """Another member of group g. The first one must read meanwhile where a broker rebalances."""
        return await bus.consumer([topics.events], group="g")
