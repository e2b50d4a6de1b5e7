"""The bus on Kafka, by aiokafka. What `port.py` promises, with a broker's durability: acks of all in-sync replicas, idempotent producer.

Video is not compressed again. Partitions are chosen by the topic, never hashed. Offsets are committed by hand, for partitions that are
still ours. Members of a group share partitions round robin.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]  # aiokafka is untyped

from shared.bus.kafka_consumer import KafkaConsumer
from shared.bus.kafka_producer import KafkaProducer
from shared.bus.kafka_settings import foreign_errors
from shared.bus.kafka_topics import KafkaTopics
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import Clock
from shared.domain.errors import BusError, BusUnavailable, ConfigError, UndecodableMessage
from shared.messages import DeadLetter
from shared.messages.codec import META
from shared.supervise import Supervisor
from shared.topics import ALL, DEAD_LETTERS, Topic

log = structlog.get_logger(__name__)

#: How long `start` waits for the broker's answer, before it goes on and leaves connecting to a loop of its own.
FIRST_TRY_S = 3.0
CONNECT_BACKOFF_MIN_S, CONNECT_BACKOFF_MAX_S = 0.5, 5.0
#: How often the brokers are asked whether they are there: an idempotent producer waits for them for ever, and is told nothing.
REACH_EVERY_S = 3.0


class KafkaBus:
    """A `Bus` on a Kafka cluster.

    Args:
        topics: those to create when missing.
        first_try_s: how long `start` waits for the answer to the first attempt to connect; who has nothing else to do waits longer.
    """

    def __init__(
        self, config: KafkaConfig, clock: Clock, *, client_id: str, topics: Sequence[Topic[Any]] = ALL, first_try_s: float = FIRST_TRY_S
    ) -> None:
        self._config, self._clock, self._client_id, self._topics = config, clock, client_id, tuple(topics)
        self._first_try_s = first_try_s
        self._where = f"kafka {', '.join(config.brokers)}"
        self._made = KafkaTopics(config, clock, topics, client_id=client_id, where=self._where)
        self._producer = KafkaProducer(
            self._where, clock, brokers=config.brokers, client_id=client_id, largest_bytes=max(topic.max_message_bytes for topic in topics)
        )
        self._consumers: set[KafkaConsumer] = set()
        self._supervisor = Supervisor(clock)
        self._ready = asyncio.Event()  # connected, or stopped: nobody waits any longer
        self._missing = "the bus does not run"
        self._away = ""  # connected, but the brokers do not answer now

    @property
    def producer(self) -> KafkaProducer:
        return self._producer

    def faust_url(self) -> str:
        return ";".join(f"kafka://{broker}" for broker in self._config.brokers)

    def trouble(self) -> str:
        return self._missing or self._away or self._producer.trouble

    async def start(self) -> None:
        self._supervisor, self._ready = Supervisor(self._clock), asyncio.Event()
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = f"{self._where}: no answer yet"
        self._supervisor.spawn("bus.connect", partial(self._connect_loop, tried))
        try:
            await asyncio.wait([tried], timeout=self._first_try_s)
            if tried.done():
                tried.result()
            tried.cancel()  # what goes wrong from now on is tried again: somebody may mend it
        except BaseException:
            await self.stop()
            raise

    async def _connect_loop(self, tried: asyncio.Future[None]) -> None:
        """Until it is connected. The first attempt settles `tried`, with an error only where trying again cannot help."""
        backoff_s = CONNECT_BACKOFF_MIN_S
        while not self._ready.is_set():
            try:
                await self._connect()
            except (BusError, ConfigError) as error:
                if str(error) != self._missing:
                    log.warning("the bus is not there, it is tried again", reason=str(error))
                self._missing = str(error)
                if isinstance(error, ConfigError) and not tried.done():
                    tried.set_exception(error)
                    return
            else:
                self._missing = ""
                self._ready.set()
                self._supervisor.spawn("bus.reach", self._reach_loop)
                self._supervisor.spawn("bus.renew", self._producer.renew_loop)
                log.info("the bus is connected", brokers=", ".join(self._config.brokers))
            if not tried.done():
                tried.set_result(None)
            if not self._ready.is_set():
                await self._clock.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, CONNECT_BACKOFF_MAX_S)

    async def _reach_loop(self) -> None:
        """Note whether the brokers answer."""
        while True:
            await self._clock.sleep(REACH_EVERY_S)
            away = "" if await self._producer.reaches() else str(self._no_answer())
            if bool(away) != bool(self._away):
                log.warning(
                    "the bus does not answer any more" if away else "the bus answers again", brokers=", ".join(self._config.brokers)
                )
            self._away = away

    def _no_answer(self, why: str = "") -> BusUnavailable:
        return BusUnavailable(f"the broker does not answer{why}", where=self._where, hint="is it running?")

    async def _connect(self) -> None:
        try:
            await self._made.ensure()
            await self._producer.open()
        except (KafkaError, OSError) as error:
            why = "" if "bootstrap" in str(error) else f": {type(error).__name__}: {error}"
            raise self._no_answer(why) from error

    async def stop(self) -> None:
        self._missing, self._away = self._missing or "the bus does not run", ""
        await self._supervisor.stop()
        self._ready.set()
        for consumer in list(self._consumers):
            await consumer.close()
        await self._producer.close()

    async def connected(self) -> None:
        await self._ready.wait()
        if self._missing:
            raise BusUnavailable(self._missing)

    async def consumer(self, topics: Sequence[Topic[Any]], *, group: str | None, from_start: bool = True) -> KafkaConsumer:
        await self.connected()
        consumer = KafkaConsumer(topics, group, self._where, bury=self._bury, forget=self._consumers.discard)
        self._consumers.add(consumer)
        try:
            with foreign_errors(self._where):
                await consumer.open(list(self._config.brokers), self._client_id, from_start=from_start)
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def _bury(self, record: Any, error: UndecodableMessage) -> None:
        """To the dead letters, with the reason."""
        meta = dict(record.headers).get(META, b"").decode(errors="replace")
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        log.error("undecodable message goes to the dead letters", origin=origin, reason=str(error))
        letter = DeadLetter(origin=origin, reason=str(error), at_ns=self._clock.now_ns(), meta=meta, raw=record.value or b"")
        await self._producer.publish(DEAD_LETTERS, letter)
