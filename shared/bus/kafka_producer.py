"""Publishing to Kafka; made by `KafkaBus` (`kafka.py`).

The producer is idempotent: it numbers what it sends to a partition, and tries again until it has an answer. What the broker refuses for
good leaves a gap in the numbers, which aiokafka never closes: everything behind it is refused as out of order, for as long as the producer
lives. So after a refusal another one is opened, and numbers anew. A partition changes over to it when nothing of it is in hand any more:
nothing overtakes, and what was refused, or came behind that, is its owner's to send again.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # as above

from shared.bus.kafka_settings import OVERHEAD_BYTES, REQUEST_TIMEOUT_MS, STOP_S, foreign_errors, our_error
from shared.bus.port import Position
from shared.domain.clock import NS_PER_MS, NS_PER_S, Clock, seconds_to_ns
from shared.domain.errors import BusUnavailable, MessageTooLarge
from shared.messages import Message
from shared.messages.codec import encode
from shared.topics import Topic

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: Pauses before another producer is opened, while one after the other is refused something: a broker remembers each for a day.
RENEW_MIN_S, RENEW_MAX_S = 1.0, 30.0


@dataclass(slots=True)
class _Lane:
    """A partition: what is in hand of it is all with one producer.

    Attributes:
        begun: the broker has acknowledged something of this producer, so that it knows a gap when it sees one. Until then only one message
            is in hand: a second one would be taken although the first was refused.
        refused: why nothing more can be sent here with this producer; empty: it can.
    """

    producer: AIOKafkaProducer | None = None
    begun: bool = False
    refused: str = ""
    in_hand: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class KafkaProducer:
    """A `Producer`. `renew_loop` is a supervised loop, once it is open."""

    def __init__(self, where: str, clock: Clock, *, brokers: tuple[str, ...], client_id: str, largest_bytes: int) -> None:
        self._where, self._clock = where, clock
        self._brokers, self._client_id, self._largest_bytes = brokers, client_id, largest_bytes
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._since_ns: dict[int, int] = {}  # monotonic, oldest first: since when each message in hand is
        self._numbers = itertools.count()
        self._refused = asyncio.Event()  # something was, to the present producer
        self._ending: set[asyncio.Task[None]] = set()  # producers that are no longer the present one

    @property
    def trouble(self) -> str:
        """Why messages are not acknowledged; empty: they are."""
        refused = next((lane.refused for lane in self._lanes.values() if lane.refused and lane.producer is self._producer), "")
        waits_ns = self._clock.monotonic_ns() - next(iter(self._since_ns.values()), self._clock.monotonic_ns())
        late = waits_ns > REQUEST_TIMEOUT_MS * NS_PER_MS
        return refused or (f"{self._where}: messages are not acknowledged for {waits_ns // NS_PER_S} s" if late else "")

    async def reaches(self) -> bool:
        """Whether a broker answers."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                return self._producer is not None and bool(await self._producer.client.force_metadata_update())
        except TimeoutError:
            return False

    async def open(self) -> None:
        """Raises: KafkaError, OSError."""
        producer = await self._opened()
        self._lanes.clear()
        self._since_ns.clear()
        self._refused.clear()
        self._producer = producer

    async def _opened(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=list(self._brokers), client_id=self._client_id, acks="all", enable_idempotence=True, compression_type=None,
            max_request_size=self._largest_bytes + OVERHEAD_BYTES, max_batch_size=OVERHEAD_BYTES, request_timeout_ms=REQUEST_TIMEOUT_MS,
        )  # fmt: skip
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def renew_loop(self) -> None:
        """Open another producer whenever the present one was refused something."""
        pause_s = 0.0
        while True:
            began_ns = self._clock.monotonic_ns()
            await self._refused.wait()
            if self._clock.monotonic_ns() - began_ns > seconds_to_ns(RENEW_MAX_S):
                pause_s = 0.0
            await self._clock.sleep(pause_s)
            pause_s = min(max(RENEW_MIN_S, 2 * pause_s), RENEW_MAX_S)
            try:
                fresh = await self._opened()
            except (KafkaError, OSError) as error:
                log.warning("no new producer can be opened, it is tried again", reason=str(error), where=self._where)
                continue
            self._end(self._producer)
            self._producer = fresh
            self._refused.clear()
            log.info("publishing goes on with a new producer", where=self._where)

    def _end(self, producer: AIOKafkaProducer | None) -> None:
        """Close a producer when nothing is in hand with it any more."""
        task = asyncio.create_task(self._close_settled(producer), name="a producer ends")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close_settled(self, producer: AIOKafkaProducer | None) -> None:
        for lane in tuple(self._lanes.values()):
            while lane.in_hand and lane.producer is producer:
                await lane.settled.wait()
        if producer is not None:
            await producer.stop()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._end(producer)
        if self._ending:
            _, late = await asyncio.wait(self._ending, timeout=STOP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
                log.warning("messages were not acknowledged before the end; their senders have been told", where=self._where)

    async def enqueue(self, topic: Topic[M], message: M) -> asyncio.Future[Position]:
        if self._producer is None:
            raise BusUnavailable("not connected", where=self._where)
        wire = encode(message)
        if len(wire.value) > topic.max_message_bytes:
            raise MessageTooLarge(f"{len(wire.value)} bytes; the topic takes {topic.max_message_bytes}", where=f"topic {topic.name}")
        partition, number = topic.partition_of(message), next(self._numbers)
        lane = self._lanes.setdefault((topic.name, partition), _Lane())
        producer = await self._turn(lane)
        lane.in_hand += 1
        lane.settled.clear()
        self._since_ns[number] = self._clock.monotonic_ns()
        try:
            with foreign_errors(self._where):
                sent: asyncio.Future[Any] = await producer.send(
                    topic.name, wire.value, key=topic.key_of(message).encode(), partition=partition, headers=list(wire.headers),
                    timestamp_ms=self._clock.now_ns() // NS_PER_MS,
                )  # fmt: skip
        except BaseException:
            self._settle(lane, number)
            raise
        acknowledged: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(partial(self._acknowledge, topic, lane, number, acknowledged))
        return acknowledged

    async def publish(self, topic: Topic[M], message: M) -> Position:
        return await (await self.enqueue(topic, message))

    async def _turn(self, lane: _Lane) -> AIOKafkaProducer:
        """The producer for the next message of a partition.

        Raises:
            BusUnavailable: none can have it now.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                while lane.in_hand and not (lane.begun and lane.producer is self._producer):
                    await lane.settled.wait()
        except TimeoutError:
            raise BusUnavailable("the messages before it are not acknowledged", where=self._where) from None
        if self._producer is None:
            raise BusUnavailable("not connected", where=self._where)
        if lane.producer is not self._producer:
            lane.producer, lane.begun, lane.refused = self._producer, False, ""
        if lane.refused:
            raise BusUnavailable(lane.refused)
        return lane.producer

    def _settle(self, lane: _Lane, number: int) -> None:
        """A message is in hand no longer."""
        self._since_ns.pop(number, None)
        lane.in_hand -= 1
        if not lane.in_hand:
            lane.settled.set()

    def _acknowledge(
        self, topic: Topic[Any], lane: _Lane, number: int, acknowledged: asyncio.Future[Position], done: asyncio.Future[Any]
    ) -> None:
        self._settle(lane, number)
        error: BaseException | None
        if done.cancelled():
            error = BusUnavailable("the producer was closed", where=self._where)
        elif (foreign := done.exception()) is not None:
            error = self._refusal(lane, foreign)
        else:
            lane.begun, error = True, None
        if acknowledged.done():  # its owner was cancelled
            return
        if error is None:
            result = done.result()
            acknowledged.set_result(Position(topic.name, result.partition, result.offset))
        else:
            acknowledged.set_exception(error)
            acknowledged.exception()  # the owner may have gone: not an error that nobody saw

    def _refusal(self, lane: _Lane, error: BaseException) -> BaseException:
        """A partition is at its end with its producer. The first refusal says why; those behind it are for the gap that it left."""
        if lane.refused:
            return BusUnavailable(lane.refused)
        refusal = our_error(error, self._where)
        lane.refused = str(refusal) if isinstance(refusal, BusUnavailable) else f"a message before it was refused: {refusal}"
        if lane.producer is self._producer:
            self._refused.set()
        return refusal
