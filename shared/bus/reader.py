"""How the in-process log is read: consumers of `embedded.py`, and the partitions that they share with it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.bus.journal import OnFile
from shared.bus.log import PartitionLog
from shared.bus.port import Position, Record
from shared.domain.errors import BusUnavailable
from shared.messages import Message
from shared.topics import Topic

TopicPartition = tuple[str, int]


class Owner(Protocol):
    """What a consumer asks of its bus."""

    def leave(self, consumer: EmbeddedConsumer) -> None: ...

    def hand_over(self, consumer: EmbeddedConsumer) -> None: ...

    def commit(self, group: str, partition: Partition, next_offset: int) -> None: ...

    def admit(self, partition: Partition) -> None: ...

    async def load(self, partition: Partition, record: Record[Message]) -> Record[Message] | None: ...

    async def keep_commit(self, group: str, partition: Partition) -> None: ...


@dataclass(slots=True)
class Waiting:
    """A writer that waits for room. `admitted` resolves to the acknowledgement."""

    message: Message
    size: int
    admitted: asyncio.Future[asyncio.Future[Position]]


@dataclass(slots=True)
class Partition:
    topic: Topic[Any]
    number: int
    log: PartitionLog
    readers: set[EmbeddedConsumer] = field(default_factory=set)
    waiting: deque[Waiting] = field(default_factory=deque)
    unacknowledged: deque[tuple[int, asyncio.Future[Position]]] = field(default_factory=deque)


class EmbeddedConsumer:
    """A `Consumer`; made by `EmbeddedBus`."""

    def __init__(self, bus: Owner, topics: tuple[Topic[Any], ...], group: str | None, on_rebalance: Callable[[], None] | None) -> None:
        self.group, self.topics, self.on_rebalance = group, topics, on_rebalance
        self.leaving_numbers: frozenset[int] = frozenset()
        self._bus = bus
        self._owned: dict[TopicPartition, Partition] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._ready: dict[TopicPartition, None] = {}  # an ordered set: partitions take turns
        self._waiter: asyncio.Future[None] | None = None
        self._skipped = 0
        self._closed = False

    @property
    def skipped(self) -> int:
        return self._skipped

    async def poll(self, *, max_records: int = 256, timeout_s: float = 1.0) -> Sequence[Record[Message]]:
        """As the port says. Raises: BusUnavailable: this consumer was closed."""
        return await self.poll_some(max_records=max_records, timeout_s=timeout_s)

    async def poll_some(
        self, *, max_records: int, timeout_s: float, per_partition: int | None = None, only: Callable[[TopicPartition], bool] | None = None
    ) -> list[Record[Message]]:
        """As `poll`, with at most `per_partition` messages of each partition, and only from partitions for which `only` is true."""
        records = await self._loaded(self._take(max_records, per_partition, only))
        if records or timeout_s <= 0 or self._closed:
            self._check_open()
            return records
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._waiter
        except TimeoutError:
            return []
        finally:
            self._waiter = None
        self._check_open()
        return await self._loaded(self._take(max_records, per_partition, only))

    async def commit(self, positions: Sequence[Position]) -> None:
        if self.group is None:
            return
        for position in positions:
            key = (position.topic, position.partition)
            partition = self._owned.get(key)
            if partition is not None:  # else it has moved to another member, which starts at the committed offset
                self._bus.commit(self.group, partition, position.offset + 1)
                # The partition may have left and come back since the message was read: what is handled now is not read again.
                self._positions[key] = max(self._positions[key], min(position.offset + 1, partition.log.end))
                if partition.topic.kept:
                    await self._bus.keep_commit(self.group, partition)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._owned)

    def lag(self) -> int:
        return sum(partition.log.end - self._positions[key] for key, partition in self._owned.items())

    def ends_known(self) -> bool:
        return bool(self._owned)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._bus.leave(self)
            self.interrupt()

    def leaving(self) -> frozenset[TopicPartition]:
        """Partitions that wait for `hand_over` to move to another member."""
        return frozenset(key for key in self._owned if key[1] in self.leaving_numbers)

    def hand_over(self) -> None:
        """Give up the partitions of `leaving()`; their new owners start at the committed offsets."""
        self._bus.hand_over(self)

    def interrupt(self) -> None:
        """Let a waiting poll look again (and return empty when there is nothing)."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def seek_to_committed(self) -> dict[TopicPartition, int]:
        """Read again from the committed offsets, which are returned (offsets of the first messages not committed)."""
        for key, partition in self._owned.items():
            self._positions[key] = max(partition.log.first, partition.log.committed(self.group or "") or 0)
            self.wake(partition)
        return dict(self._positions)

    def position(self, key: TopicPartition) -> int:
        """Offset of the next message that will be read from an assigned partition."""
        return self._positions[key]

    def seek(self, key: TopicPartition, offset: int) -> None:
        self._positions[key] = offset
        self.wake(self._owned[key])

    def bounds(self, key: TopicPartition) -> tuple[int, int]:
        """Offset of the oldest message held, and of the next to come, of an assigned partition."""
        log = self._owned[key].log
        return log.first, log.end

    # -- what the bus calls

    def partitions(self) -> list[Partition]:
        return list(self._owned.values())

    def take(self, partition: Partition, position: int) -> None:
        key = (partition.topic.name, partition.number)
        self._owned[key], self._positions[key] = partition, position
        partition.readers.add(self)
        if self.group is None:
            partition.log.follow(self, position)
        if partition.log.end > position:
            self.wake(partition)

    def drop(self, partition: Partition) -> None:
        key = (partition.topic.name, partition.number)
        partition.readers.discard(self)
        self._owned.pop(key, None)
        self._positions.pop(key, None)
        self._ready.pop(key, None)

    def wake(self, partition: Partition) -> None:
        self._ready[(partition.topic.name, partition.number)] = None
        self.interrupt()

    # -- inside

    def _take(self, max_records: int, per_partition: int | None, only: Callable[[TopicPartition], bool] | None) -> list[Record[Message]]:
        records: list[Record[Message]] = []
        for key in list(self._ready):
            if len(records) >= max_records:
                break
            if only is not None and not only(key):
                continue
            partition = self._owned[key]
            del self._ready[key]
            limit = max_records - len(records)
            records += self._read(key, partition, limit if per_partition is None else min(limit, per_partition))
            if self._positions[key] < partition.log.end:
                self._ready[key] = None  # at the end: the others come first
        return records

    def _read(self, key: TopicPartition, partition: Partition, limit: int) -> list[Record[Message]]:
        first = partition.log.first
        if first > self._positions[key]:
            self._skipped += first - self._positions[key]
            self._positions[key] = first
        topic, number = key
        key_of = partition.topic.key_of
        entries = partition.log.read(self._positions[key], limit)
        if entries:
            self._positions[key] = entries[-1].offset + 1
            if self.group is None:
                partition.log.follow(self, self._positions[key])
                self._bus.admit(partition)
        return [Record(Position(topic, number, e.offset), key_of(e.message), e.timestamp_ns, e.message) for e in entries]

    async def _loaded(self, records: list[Record[Message]]) -> list[Record[Message]]:
        """The messages that entries of kept topics stand for; those that are gone are skipped."""
        if not any(isinstance(record.message, OnFile) for record in records):
            return records
        found: list[Record[Message]] = []
        try:
            for record in records:
                loaded = await self._bus.load(self._owned[(record.position.topic, record.position.partition)], record)
                self._skipped += loaded is None
                found += [] if loaded is None else [loaded]
        except BaseException:  # cancelled: nothing is given, so nothing is read
            for record in reversed(records):
                key = (record.position.topic, record.position.partition)
                if key in self._owned:
                    self.seek(key, record.position.offset)
            raise
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise BusUnavailable("this consumer is closed", where="embedded bus")
