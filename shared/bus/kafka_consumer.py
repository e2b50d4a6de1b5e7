"""Reading from Kafka; made by `KafkaBus` (`kafka.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.abc import ConsumerRebalanceListener  # type: ignore[import-untyped]  # as above
from aiokafka.errors import IllegalStateError, KafkaError  # type: ignore[import-untyped]  # as above

from shared.bus.kafka_settings import (
    OVERHEAD_BYTES,
    REQUEST_TIMEOUT_MS,
    SESSION_TIMEOUT_MS,
    STOP_S,
    PartitionsMoved,
    foreign_errors,
)
from shared.bus.port import Position, Record
from shared.domain.clock import NS_PER_MS
from shared.domain.errors import BusUnavailable, UndecodableMessage
from shared.messages import Message
from shared.messages.codec import decode
from shared.topics import Topic

log = structlog.get_logger(__name__)

#: Files a record that could not be decoded.
Bury = Callable[[Any, UndecodableMessage], Awaitable[None]]
#: Called once by a consumer that was closed.
Forget = Callable[["KafkaConsumer"], None]


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """A `Consumer`; made by `KafkaBus`."""

    def __init__(self, topics: Sequence[Topic[Any]], group: str | None, where: str, *, bury: Bury, forget: Forget) -> None:
        self._group, self._where, self._bury, self._forget = group, where, bury, forget
        self._topics = {topic.name: topic for topic in topics}
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}  # offset that the next record should have
        self._committed: dict[TopicPartition, int] = {}
        self._skipped = 0

    async def open(self, brokers: list[str], client_id: str, *, from_start: bool) -> None:
        largest = max(topic.max_message_bytes for topic in self._topics.values())
        consumer = self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, client_id=client_id, group_id=self._group, enable_auto_commit=False,
            auto_offset_reset="earliest" if from_start and self._group is not None else "latest",
            max_partition_fetch_bytes=largest + OVERHEAD_BYTES,
            fetch_max_wait_ms=min(topic.max_wait_ms for topic in self._topics.values()),  # a partition just read waits for it as well
            request_timeout_ms=REQUEST_TIMEOUT_MS, session_timeout_ms=SESSION_TIMEOUT_MS,
        )  # fmt: skip
        if self._group is not None:
            consumer.subscribe(list(self._topics), listener=self)
            await consumer.start()
        else:
            await consumer.start()
            partitions = [TopicPartition(topic.name, number) for topic in self._topics.values() for number in range(topic.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
        for partition in consumer.assignment():  # from here on nothing is missed, with "latest" too
            with suppress(IllegalStateError):  # it has another reader by now: others join at the same time
                self._next[partition] = await consumer.position(partition)

    @property
    def skipped(self) -> int:
        return self._skipped

    async def poll(self, *, max_records: int = 256, timeout_s: float = 1.0) -> Sequence[Record[Message]]:
        consumer = self._open()
        with foreign_errors(self._where):
            found = await consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        records: list[Record[Message]] = []
        for partition, raw in found.items():
            for record in raw:
                self._skipped += max(0, record.offset - self._next.get(partition, record.offset))
                self._next[partition] = record.offset + 1
                try:
                    records.append(self._decoded(record))
                except UndecodableMessage as error:
                    await self._bury(record, error)
        return records

    async def commit(self, positions: Sequence[Position]) -> None:
        """As the port says. Raises: BusUnavailable."""
        consumer = self._open()
        if self._group is None:
            return
        offsets: dict[TopicPartition, int] = {}
        for position in positions:
            partition = TopicPartition(position.topic, position.partition)
            offsets[partition] = max(offsets.get(partition, 0), position.offset + 1)
        assigned = consumer.assignment()
        due = {tp: offset for tp, offset in offsets.items() if tp in assigned and offset > self._committed.get(tp, 0)}
        if not due:
            return
        try:
            with foreign_errors(self._where):
                await consumer.commit(due)
        except PartitionsMoved:
            log.info("partitions moved before a commit; their new reader handles the messages again", group=self._group)
        else:
            self._committed.update(due)

    def assignment(self) -> frozenset[tuple[str, int]]:
        return frozenset((tp.topic, tp.partition) for tp in self._consumer.assignment()) if self._consumer is not None else frozenset()

    def lag(self) -> int:
        if self._consumer is None:
            return 0
        ends = ((tp, self._consumer.highwater(tp)) for tp in self._consumer.assignment())
        return sum(max(0, end - self._next[tp]) for tp, end in ends if end is not None and tp in self._next)

    def ends_known(self) -> bool:
        if self._consumer is None:
            return False
        ends = [self._consumer.highwater(tp) for tp in self._consumer.assignment()]
        return bool(ends) and None not in ends

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._forget(self)
        if consumer is not None:
            try:
                async with asyncio.timeout(STOP_S):
                    await consumer.stop()
            except (TimeoutError, KafkaError) as error:
                log.warning("the group could not be left in order; the broker will notice", group=self._group, error=str(error))

    # -- called by aiokafka around a rebalance

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing: reading begins at the committed offsets."""

    def _decoded(self, record: Any) -> Record[Message]:
        message = decode(self._topics[record.topic].message, record.value, record.headers)
        position = Position(record.topic, record.partition, record.offset)
        return Record(position, (record.key or b"").decode(errors="replace"), record.timestamp * NS_PER_MS, message)

    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise BusUnavailable("this consumer is closed", where=self._where)
        return self._consumer
