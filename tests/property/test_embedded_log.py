"""The embedded log under every order of publishing, reading, committing, joining, leaving and crashing that Hypothesis can think of."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Position
from shared.bus.reader import EmbeddedConsumer
from shared.domain.clock import ManualClock
from shared.messages import SegmentMessage
from shared.topics import OnFull, Topic

T = TypeVar("T")
PARTITIONS = 3
CAPACITY = 5
CAPACITY_BYTES = 100
BLOCK = Topic("block", SegmentMessage, PARTITIONS, 1, (), (), capacity=CAPACITY, capacity_bytes=CAPACITY_BYTES, durable_by=("g0",))
DROP = Topic("drop", SegmentMessage, PARTITIONS, 1, (), (), capacity=CAPACITY, capacity_bytes=CAPACITY_BYTES, on_full=OnFull.DROP_OLDEST)
TOPICS = {topic.name: topic for topic in (BLOCK, DROP)}
Key = tuple[str, int]


@dataclass(eq=False)
class Member:
    """What the test knows of a consumer. `given`: offsets that it was given since it got the partition."""

    consumer: EmbeddedConsumer
    group: str
    given: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(list))


@dataclass(eq=False)
class Live:
    consumer: EmbeddedConsumer
    start: dict[Key, int]
    received: int = 0
    last: dict[Key, int] = field(default_factory=dict)


@dataclass(eq=False)
class Write:
    topic: str
    partition: int
    size: int
    task: asyncio.Task[Position]

    @property
    def waits(self) -> bool:
        return not self.task.done()


class EmbeddedLog(RuleBasedStateMachine):
    members = Bundle("members")
    lives = Bundle("lives")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bus = EmbeddedBus(ManualClock())
        self.run(self.bus.start())
        self.sequence: dict[tuple[str, str, int], int] = defaultdict(int)
        self.writers: list[Write] = []
        self.published: dict[Key, dict[int, SegmentMessage]] = defaultdict(dict)  # by offset, as any reader saw them
        self.committed: dict[tuple[str, Key], int] = defaultdict(int)
        self.seen: dict[tuple[str, Key], set[int]] = defaultdict(set)
        self.groups: set[str] = set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def settled() -> T:
            result = await coroutine
            for _ in range(5):
                await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(settled())

    # -- what can happen

    @rule(producer=st.sampled_from("ab"), topic=st.sampled_from(sorted(TOPICS)), partition=st.integers(0, 2), size=st.integers(0, 130))
    def publish(self, producer: str, topic: str, partition: int, size: int) -> None:
        number = self.sequence[producer, topic, partition]
        self.sequence[producer, topic, partition] += 1
        fields: dict[str, Any] = {"channel": producer, "channel_number": partition, "sequence": number, "payload": bytes(size)}
        message = SegmentMessage.model_construct(**fields)  # what the log does not look at may be missing

        async def write() -> None:
            self.writers.append(Write(topic, partition, size, asyncio.create_task(self.bus.publish(TOPICS[topic], message))))

        self.run(write())

    @rule(data=st.data())
    def cancel_a_writer(self, data: st.DataObject) -> None:
        waiting = [writer for writer in self.writers if writer.waits]
        if waiting:
            data.draw(st.sampled_from(waiting)).task.cancel()
            self.run(asyncio.sleep(0))

    @rule(target=members, group=st.sampled_from(["g0", "g1"]))
    def join(self, group: str) -> Member:
        consumer = self.run(self.bus.consumer([BLOCK, DROP], group=group))
        self.groups.add(group)
        return Member(consumer, group)

    @rule(member=members, count=st.integers(1, 8))
    def poll(self, member: Member, count: int) -> None:
        self.take(member, count)

    @rule(member=members, data=st.data())
    def commit(self, member: Member, data: st.DataObject) -> None:
        given = sorted((key, offset) for key, offsets in member.given.items() for offset in offsets)
        if given:
            key, offset = data.draw(st.sampled_from(given))
            self.accept(member, key, offset)

    @rule(member=consumes(members))
    def leave_or_crash(self, member: Member) -> None:
        """To the log a crash is a member that is gone without having committed."""
        self.run(member.consumer.close())

    @rule(target=lives)
    def join_live(self) -> Any:
        consumer = self.run(self.bus.consumer([BLOCK, DROP], group=None))
        return multiple(Live(consumer, {key: consumer.position(key) for key in consumer.assignment()}))

    @rule(live=lives, count=st.integers(1, 8))
    def poll_live(self, live: Live, count: int) -> None:
        for record in self.run(live.consumer.poll(max_records=count, timeout_s=0)):
            key = (record.position.topic, record.position.partition)
            assert record.position.offset > live.last.get(key, -1)
            live.last[key] = record.position.offset
            live.received += 1
        positions = {key: live.consumer.position(key) for key in live.start}
        assert live.received + live.consumer.skipped == sum(positions[key] - live.start[key] for key in positions)

    @rule(live=consumes(lives))
    def close_live(self, live: Live) -> None:
        self.run(live.consumer.close())

    # -- what must hold

    @invariant()
    def bounds_are_kept(self) -> None:
        for topic in TOPICS.values():
            for messages, size in self.bus.held(topic):
                assert messages <= CAPACITY
                assert size <= CAPACITY_BYTES or messages == 1

    @invariant()
    def a_dropping_topic_makes_nobody_wait(self) -> None:
        assert not any(writer.waits for writer in self.writers if writer.topic == "drop")

    @invariant()
    def acknowledged_is_committed_by_the_durable_group(self) -> None:
        for writer in self.writers:
            if not writer.waits and not writer.task.cancelled() and writer.topic == "block":
                position = writer.task.result()
                assert position.offset < self.committed["g0", (position.topic, position.partition)]

    def take(self, member: Member, count: int) -> int:
        records = self.run(member.consumer.poll(max_records=count, timeout_s=0))
        assert len(records) <= count
        for record in records:
            key, offset = (record.position.topic, record.position.partition), record.position.offset
            assert key in member.consumer.assignment()
            assert offset >= self.committed[member.group, key], "committed messages do not come again"
            given = member.given[key]
            held = given and given[-1] >= offset  # the partition left and came back: it begins at the committed offset
            if held:
                given.clear()
            else:
                assert key[0] == "drop" or not given or offset == given[-1] + 1, "no gap but where a dropping topic skipped"
            given.append(offset)
            assert isinstance(record.message, SegmentMessage)
            self.note(key, offset, record.message)
            self.seen[member.group, key].add(offset)
        return len(records)

    def note(self, key: Key, offset: int, message: SegmentMessage) -> None:
        """An offset names one message for all readers, and a producer's messages are in its order."""
        assert self.published[key].setdefault(offset, message) is message
        same = sorted((o, m.sequence) for o, m in self.published[key].items() if m.channel == message.channel)
        assert [sequence for _, sequence in same] == sorted(sequence for _, sequence in same)

    def accept(self, member: Member, key: Key, offset: int) -> None:
        self.run(member.consumer.commit([Position(key[0], key[1], offset)]))
        if key in member.consumer.assignment():
            before = self.committed[member.group, key]
            self.committed[member.group, key] = max(before, offset + 1)

    def teardown(self) -> None:
        """Whatever happened: in the end each group has been given everything that it had not lost to a dropping topic."""
        try:
            for group in sorted(self.groups | {"g0"}):
                self.groups.add(group)
            for _ in range(200):
                progress = 0
                for group in sorted(self.groups):
                    last = Member(self.run(self.bus.consumer([BLOCK, DROP], group=group)), group)
                    while self.take(last, 100):
                        progress += 1
                        for key, offsets in list(last.given.items()):
                            self.accept(last, key, offsets[-1])
                    self.run(last.consumer.close())
                if not progress and not any(writer.waits for writer in self.writers):
                    break
                if not progress:
                    self.reread()
            assert not any(writer.waits for writer in self.writers)
            done = [writer.task.result() for writer in self.writers if not writer.task.cancelled()]
            for position in done:
                if position.topic == "block":
                    assert position.offset in self.seen["g0", ("block", position.partition)], "nothing is lost"
        finally:
            self.run(self.bus.stop())
            self.run(asyncio.sleep(0))
            self.loop.close()

    def reread(self) -> None:
        """Members that still hold partitions, and will never be called again, leave."""
        for group in list(self.bus._groups.values()):
            for consumer in list(group.members):
                self.run(consumer.close())


EmbeddedLog.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEmbeddedLog = EmbeddedLog.TestCase
