"""What a topic holds now, read once by whoever wants to know: without a group, and nothing is committed or written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # aiokafka is untyped

from shared.bus.kafka_settings import OVERHEAD_BYTES, REQUEST_TIMEOUT_MS, foreign_errors
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import NS_PER_MS
from shared.domain.errors import BusUnavailable
from shared.messages.codec import Wire
from shared.topics import Topic

#: Polls of a second in vain after which the broker is believed to be away.
_IN_VAIN = 30


async def stored(config: KafkaConfig, topic: Topic[Any], *, client_id: str) -> AsyncIterator[tuple[int, Wire]]:
    """Every message of a topic, oldest first within a partition: when it was published (UTC, ns), and what it is as the broker has it.

    Raises:
        BusUnavailable: the broker does not answer.
    """
    where = f"kafka {', '.join(config.brokers)}"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(config.brokers), client_id=client_id, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=topic.max_message_bytes + OVERHEAD_BYTES, request_timeout_ms=REQUEST_TIMEOUT_MS,
    )  # fmt: skip
    try:
        with foreign_errors(where):
            await consumer.start()
            if topic.name not in await consumer.topics():
                return
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            first, end = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            left = [partition for partition in partitions if first[partition] < end[partition]]
            consumer.assign(left)
            in_vain = 0
            while left:
                found = await consumer.getmany(*left, timeout_ms=1000)
                for record in (record for records in found.values() for record in records):
                    yield record.timestamp * NS_PER_MS, Wire(record.value or b"", tuple(record.headers))
                left = [partition for partition in left if await consumer.position(partition) < end[partition]]
                in_vain = 0 if found else in_vain + 1
                if in_vain == _IN_VAIN:
                    raise BusUnavailable("the broker does not answer any more", where=where)
    finally:
        await consumer.stop()
