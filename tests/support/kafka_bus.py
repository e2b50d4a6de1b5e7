"""A bus on a broker of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import Clock, SystemClock
from shared.topics import ALL, Topic
from tests.support.kafka import KafkaServer
from tests.support.waiting import until_connected


@asynccontextmanager
async def connected(server: KafkaServer, clock: Clock | None = None, *, topics: Sequence[Topic[Any]] = ALL) -> AsyncIterator[KafkaBus]:
    """A bus that has reached its broker, until the block ends."""
    bus = KafkaBus(KafkaConfig(brokers=(server.address,)), clock or SystemClock(), client_id="test", topics=tuple(topics))
    await bus.start()
    try:
        await until_connected(bus)
        yield bus
    finally:
        await bus.stop()
