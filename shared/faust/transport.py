"""`embedded://`: Faust over the in-process log (`shared/bus/embedded.py`). Faust's own conductor and fetcher do the rest.

A group member of the log stands behind each Faust app. Rebalances keep Faust's order: partitions that leave are announced, handlers end,
what they handled is committed, and only then the partitions are handed over; nothing is handled twice because a member joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar

from faust.exceptions import ConsumerNotStarted, ProducerSendError
from faust.transport import base
from faust.transport.consumer import Consumer as BaseConsumer
from faust.types import TP, ConsumerMessage, RecordMetadata

from shared.bus.embedded import bus_at
from shared.bus.port import Position, Record
from shared.bus.reader import EmbeddedConsumer
from shared.domain.clock import NS_PER_S
from shared.domain.errors import BusError
from shared.messages import Message
from shared.messages.codec import decode
from shared.topics import ALL, Topic

_TOPICS: dict[str, Topic[Any]] = {topic.name: topic for topic in ALL}
#: Messages of one partition in one fetch: what waits in Faust's buffers cannot be dropped as stale any more.
_FETCH_PER_PARTITION = 1


def _key(tp: TP) -> tuple[str, int]:
    return (tp.topic, tp.partition)


class Consumer(BaseConsumer):
    """Faust's consumer, as a member of a group of the embedded bus."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._member: EmbeddedConsumer | None = None
        self._moving: asyncio.Future[None] | None = None
        self._changed = False

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group; the partitions come by `_rebalance`, as they would from a broker."""
        await self._leave()
        bus = bus_at(str(self.transport.url[0]))
        declared = [_TOPICS[name] for name in sorted(topics)]
        self._member = bus.join(declared, group=self.app.conf.id, on_rebalance=self._on_rebalance)
        self._on_rebalance()

    def _on_rebalance(self) -> None:
        self._changed = True
        if self._moving is None or self._moving.done():
            self._moving = self.add_future(self._rebalance())

    async def _rebalance(self) -> None:
        while self._changed and self._member is not None:
            self._changed = False
            self.app.on_rebalance_start()
            self.app.consumer_generation_id += 1  # what was fetched for the old assignment is skipped
            await self.on_partitions_revoked({TP(*key) for key in self._member.leaving()})
            await self.commit()
            self._member.hand_over()
            if not self._changed:
                await self.on_partitions_assigned({TP(*key) for key in self._member.assignment()}, self.app.consumer_generation_id)

    async def _wait_next_records(  # faust's signature, as the next
        self,
        timeout: float,  # noqa: ASYNC109  # faust's signature
    ) -> tuple[Mapping[TP, list[Record[Message]]] | None, set[TP] | None]:
        # Faust's own sleeps a second when all partitions are paused; here resuming wakes the fetcher.
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        return await self._getmany(active, timeout), active

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109  # faust's signature
    ) -> Mapping[TP, list[Record[Message]]]:
        member = self._joined()
        active = self._get_active_partitions()
        records = await member.poll_some(
            max_records=256, timeout_s=timeout, per_partition=_FETCH_PER_PARTITION, only=lambda key: TP(*key) in active
        )
        found: dict[TP, list[Record[Message]]] = {}
        for record in records:
            found.setdefault(TP(record.position.topic, record.position.partition), []).append(record)
        return found

    def _to_message(self, tp: TP, record: Record[Message]) -> ConsumerMessage:
        value: Any = record.message  # by reference: where a broker has bytes
        return ConsumerMessage(
            tp.topic, tp.partition, record.position.offset, record.timestamp_ns / NS_PER_S, 0, None, record.key.encode(), value,
            None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        await self._joined().commit([Position(tp.topic, tp.partition, offset - 1) for tp, offset in offsets.items()])
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return {TP(*key): offset for key, offset in self._joined().seek_to_committed().items()}

    async def _seek(self, partition: TP, offset: int) -> None:
        self._joined().seek(_key(partition), offset)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for partition, offset in partitions.items():
            await self.seek(partition, offset)

    async def position(self, tp: TP) -> int | None:
        return self._joined().position(_key(tp))

    def assignment(self) -> set[TP]:
        return {TP(*key) for key in self._member.assignment()} if self._member is not None else set()

    def highwater(self, tp: TP) -> int:
        return self._joined().bounds(_key(tp))[1]

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self._joined().bounds(_key(tp))[0] for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        return _TOPICS[topic].partitions if topic in _TOPICS else None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        return partition

    async def create_topic(self, topic: str, partitions: int, replication: int, **settings: Any) -> None:
        """Topics of the embedded log exist once used."""

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._interrupt()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._interrupt()

    def stop_flow(self) -> None:
        super().stop_flow()
        self._interrupt()

    def _interrupt(self) -> None:
        if self._member is not None:
            self._member.interrupt()

    def _joined(self) -> EmbeddedConsumer:
        if self._member is None:
            raise ConsumerNotStarted("the consumer has not joined its group")
        return self._member

    async def on_stop(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
        await super().on_stop()  # commits
        await self._leave()

    async def _leave(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            await member.close()


class Producer(base.Producer):
    """Faust's producer. Our agents publish through the bus port; this serves `topic.send` all the same."""

    async def send(
        self, topic: str, key: bytes | None, value: Any, partition: int | None, timestamp: float | None, headers: Any,
        *, transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:  # fmt: skip
        bus = bus_at(str(self.transport.url[0]))
        declared = _TOPICS[topic]
        message = value if isinstance(value, Message) else decode(declared.message, value, headers or ())
        try:
            acknowledged = await bus.enqueue(declared, message)
        except BusError as error:
            raise ProducerSendError(str(error)) from error
        return asyncio.ensure_future(_metadata(acknowledged))

    async def send_and_wait(
        self, topic: str, key: bytes | None, value: Any, partition: int | None, timestamp: float | None, headers: Any,
        *, transactional_id: str | None = None,
    ) -> RecordMetadata:  # fmt: skip
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        await self.buffer.flush()

    def key_partition(self, topic: str, key: bytes) -> TP:
        return TP(topic, 0)

    async def create_topic(self, topic: str, partitions: int, replication: int, **settings: Any) -> None:
        """Topics of the embedded log exist once used."""

    def supports_headers(self) -> bool:
        return True


async def _metadata(acknowledged: asyncio.Future[Position]) -> RecordMetadata:
    position = await acknowledged
    tp = TP(position.topic, position.partition)
    return RecordMetadata(tp.topic, tp.partition, tp, position.offset)


class Transport(base.Transport):
    """Found by Faust under the scheme of the broker URL (entry-point group `faust.transports`)."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer
    default_port = 0
    driver_version = "embedded"
