"""The bus of one process: an in-memory partitioned log. No broker, nothing encoded: readers get the very objects that were published.

What it promises beyond `port.py`:

- Memory is bounded per partition by `Topic.capacity` and `capacity_bytes`. A message leaves when all groups have committed it and
  all live readers have read it. A BLOCK topic that no group ever joined keeps the newest `capacity` messages and drops older ones.
- A group goes on counting after its last member left: its messages wait for it, and a BLOCK topic then blocks its writers.
- Groups named by `Topic.durable_by` count from the first message on; they always begin at the oldest.
- Kept topics (`Topic.kept`) are in files, once a data folder is given: fsynced before a publish is acknowledged, there again after a
  restart with their offsets and with what groups had committed; readers do not make their messages leave.
- Consumers are woken by the publish itself; nothing polls.
- Everything is called from the one event loop; other threads use `loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from shared.bus.groups import assign
from shared.bus.kept import KeptTopics
from shared.bus.log import PartitionLog
from shared.bus.port import Position, Record
from shared.bus.reader import EmbeddedConsumer, Partition, TopicPartition, Waiting
from shared.bus.sizes import check_size
from shared.domain.clock import Clock
from shared.domain.errors import BusUnavailable
from shared.messages import Message
from shared.topics import ALL, Topic

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class _Group:
    name: str
    topics: tuple[Topic[Any], ...]
    members: list[EmbeddedConsumer] = field(default_factory=list)
    owners: dict[int, EmbeddedConsumer] = field(default_factory=dict)  # of partition numbers, over all topics

    def numbers(self) -> range:
        return range(max(topic.partitions for topic in self.topics))


_NUMBERS = itertools.count(1)
#: Buses by the host part of their `faust_url`: a URL is all that a Faust transport is given.
_BY_NAME: WeakValueDictionary[str, EmbeddedBus] = WeakValueDictionary()


def bus_at(url: str) -> EmbeddedBus:
    """The bus of a `faust_url`.

    Raises:
        BusUnavailable: there is none any more.
    """
    try:
        return _BY_NAME[url.removeprefix("embedded://").rstrip("/")]
    except KeyError:
        raise BusUnavailable("there is no such bus in this process", where=url) from None


class EmbeddedBus:
    """A `Bus` in memory; also its own `Producer`.

    Args:
        data_dir: kept topics are in files below it; None: in memory, as all others.
        topics: among which the kept ones are.
    """

    def __init__(self, clock: Clock, data_dir: Path | None = None, topics: Sequence[Topic[Any]] = ALL) -> None:
        self._clock = clock
        self.kept = KeptTopics(topics, data_dir, clock)
        self._partitions: dict[TopicPartition, Partition] = {}
        self._groups: dict[str, _Group] = {}
        self._live: set[EmbeddedConsumer] = set()
        self._running = False
        self._name = f"bus-{next(_NUMBERS)}"
        _BY_NAME[self._name] = self

    @property
    def producer(self) -> EmbeddedBus:
        return self

    def faust_url(self) -> str:
        return f"embedded://{self._name}"

    def trouble(self) -> str:
        return ""

    async def start(self) -> None:
        """As the port says. Raises: BusUnavailable: the files of a kept topic cannot be used."""
        for topic in await self.kept.open():
            self._partitions.pop((topic.name, 0), None)
        self._running = True

    async def connected(self) -> None:
        """As the port says. Raises: BusUnavailable: the bus does not run."""
        if not self._running:
            raise BusUnavailable("the bus does not run", where="embedded bus")

    async def stop(self) -> None:
        """Close all consumers; writers that wait, and messages that no group made durable, get `BusUnavailable`."""
        self._running = False
        await self.kept.settle()
        for consumer in [*self._live, *(member for group in self._groups.values() for member in group.members)]:
            await consumer.close()
        for partition in self._partitions.values():
            futures: list[asyncio.Future[Any]] = [waiting.admitted for waiting in partition.waiting]
            futures += [future for _, future in partition.unacknowledged]
            for future in futures:
                if not future.done():
                    future.set_exception(self._stopped())
                    future.exception()  # the owner may have gone already: not an error that nobody saw
            partition.waiting.clear()
            partition.unacknowledged.clear()

    async def enqueue(self, topic: Topic[M], message: M) -> asyncio.Future[Position]:
        if not self._running:
            raise self._stopped()
        size = check_size(topic, message)
        partition = self._partition(topic, topic.partition_of(message))
        if self.kept.log(topic) is not None:
            return await self.kept.append(topic, message, written=partial(self._wake, partition))
        if not partition.waiting and partition.log.make_room(size):
            return self._append(partition, message, size)
        waiting = Waiting(message, size, asyncio.get_running_loop().create_future())
        partition.waiting.append(waiting)
        return await waiting.admitted

    async def publish(self, topic: Topic[M], message: M) -> Position:
        return await (await self.enqueue(topic, message))

    async def consumer(self, topics: Sequence[Topic[Any]], *, group: str | None, from_start: bool = True) -> EmbeddedConsumer:
        return self.join(topics, group=group, from_start=from_start)

    def join(
        self, topics: Sequence[Topic[Any]], *, group: str | None, from_start: bool = True, on_rebalance: Callable[[], None] | None = None
    ) -> EmbeddedConsumer:
        """As `consumer`. With `on_rebalance` partitions are handed over in peace: it is called whenever this member's partitions are to
        change; those in `leaving()` stay its own until it calls `hand_over()`.

        Raises:
            BusUnavailable: the bus does not run.
            ValueError: the group reads other topics.
        """
        if not self._running:
            raise self._stopped()
        consumer = EmbeddedConsumer(self, tuple(topics), group, on_rebalance)
        if group is None:
            self._live.add(consumer)
            for topic in topics:
                for number in range(topic.partitions):
                    partition = self._partition(topic, number)
                    consumer.take(partition, partition.log.end)
            return consumer
        joined = self._groups.setdefault(group, _Group(group, tuple(topics)))
        if {topic.name for topic in joined.topics} != {topic.name for topic in topics}:
            raise ValueError(f"group {group!r} reads {[topic.name for topic in joined.topics]}, not {[topic.name for topic in topics]}")
        for partition in self._partitions_of(joined.topics):
            partition.log.join(group, from_start=from_start)
        joined.members.append(consumer)
        self._rebalance(joined)
        return consumer

    def backlog(self, topic: Topic[Any], group: str) -> int:
        """How many held messages of a topic a group has not committed."""
        held = [self._partition(topic, number).log for number in range(topic.partitions)]
        return sum(log.end - max(log.first, log.committed(group) or 0) for log in held)

    def held(self, topic: Topic[Any]) -> list[tuple[int, int]]:
        """By partition: messages in memory, and their payload bytes."""
        logs = [self._partition(topic, number).log for number in range(topic.partitions)]
        return [(len(log), log.size_bytes) for log in logs]

    # -- what consumers call

    def leave(self, consumer: EmbeddedConsumer) -> None:
        self._live.discard(consumer)
        for partition in consumer.partitions():
            self._release(consumer, partition)
        group = self._groups.get(consumer.group) if consumer.group is not None else None
        if group is not None and consumer in group.members:
            group.members.remove(consumer)
            group.owners = {number: owner for number, owner in group.owners.items() if owner is not consumer}
            self._rebalance(group)

    def hand_over(self, consumer: EmbeddedConsumer) -> None:
        group = self._groups[consumer.group] if consumer.group is not None else None
        if group is not None:
            for number in consumer.leaving_numbers:
                group.owners.pop(number, None)
                for partition in self._partitions_of(group.topics, number):
                    self._release(consumer, partition)
            consumer.leaving_numbers = frozenset()
            self._rebalance(group)

    def commit(self, group: str, partition: Partition, next_offset: int) -> None:
        if not partition.log.commit(group, next_offset):
            return
        durable = partition.log.durable()
        while partition.unacknowledged and partition.unacknowledged[0][0] < durable:
            offset, future = partition.unacknowledged.popleft()
            if not future.done():
                future.set_result(Position(partition.topic.name, partition.number, offset))
        self.admit(partition)

    def admit(self, partition: Partition) -> None:
        """Let waiting writers in, first come first served, as far as there is room."""
        while partition.waiting:
            waiting = partition.waiting[0]
            if not waiting.admitted.done():  # else its writer was cancelled
                if not partition.log.make_room(waiting.size):
                    return
                waiting.admitted.set_result(self._append(partition, waiting.message, waiting.size))
            partition.waiting.popleft()

    async def load(self, partition: Partition, record: Record[Message]) -> Record[Message] | None:
        """What an entry of a kept topic stands for; None: it is gone."""
        return await self.kept.load(partition.topic, record)

    async def keep_commit(self, group: str, partition: Partition) -> None:
        """What a group has committed of a kept topic outlives the process."""
        await self.kept.keep_commit(partition.topic, group)

    # -- inside

    def _append(self, partition: Partition, message: Message, size: int) -> asyncio.Future[Position]:
        offset = partition.log.append(self._clock.now_ns(), message, size)
        acknowledged: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        if partition.topic.durable_by:
            partition.unacknowledged.append((offset, acknowledged))
        else:
            acknowledged.set_result(Position(partition.topic.name, partition.number, offset))
        self._wake(partition)
        return acknowledged

    def _wake(self, partition: Partition) -> None:
        for reader in partition.readers:
            reader.wake(partition)

    def _partition(self, topic: Topic[Any], number: int) -> Partition:
        key = (topic.name, number)
        partition = self._partitions.get(key)
        if partition is None:
            kept = self.kept.log(topic)
            log = PartitionLog(topic.capacity, topic.capacity_bytes, topic.on_full, topic.durable_by) if kept is None else kept
            partition = self._partitions[key] = Partition(topic, number, log)
        return partition

    def _partitions_of(self, topics: Iterable[Topic[Any]], number: int | None = None) -> list[Partition]:
        wanted = ((topic, n) for topic in topics for n in (range(topic.partitions) if number is None else (number,)))
        return [self._partition(topic, n) for topic, n in wanted if n < topic.partitions]

    def _rebalance(self, group: _Group) -> None:
        target = assign(group.numbers(), group.members, group.owners)
        leaving: dict[EmbeddedConsumer, set[int]] = {}
        changed: set[EmbeddedConsumer] = set()
        for number, member in target.items():
            owner = group.owners.get(number)
            if owner is member:
                continue
            if owner is not None and owner.on_rebalance is not None:
                leaving.setdefault(owner, set()).add(number)
                continue
            group.owners[number] = member
            changed.add(member)
            for partition in self._partitions_of(group.topics, number):
                if owner is not None:
                    self._release(owner, partition)
                member.take(partition, partition.log.committed(group.name) or 0)
        for member in list(group.members):
            numbers = frozenset(leaving.get(member, ()))
            if numbers != member.leaving_numbers or member in changed:
                member.leaving_numbers = numbers
                if member.on_rebalance is not None:
                    member.on_rebalance()

    def _release(self, consumer: EmbeddedConsumer, partition: Partition) -> None:
        consumer.drop(partition)
        partition.log.unfollow(consumer)
        self.admit(partition)

    def _stopped(self) -> BusUnavailable:
        return BusUnavailable("the bus does not run", where="embedded bus")
