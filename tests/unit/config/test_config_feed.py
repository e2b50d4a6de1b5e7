"""The topic of configurations, read from a broker that takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer, Position, Record
from shared.config_feed.feed import ConfigFeed
from shared.domain.clock import ManualClock
from shared.messages import Message
from shared.topics import Topic

POLLS_IN_VAIN = 20


class Late:
    """A consumer whose broker answers its first polls late: nothing comes, and it does not know yet how much there is."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer, self._late = consumer, POLLS_IN_VAIN

    @property
    def skipped(self) -> int:
        return self._consumer.skipped

    async def poll(self, *, max_records: int = 256, timeout_s: float = 1.0) -> Sequence[Record[Message]]:
        if self._late:
            self._late -= 1
            return []
        return await self._consumer.poll(max_records=max_records, timeout_s=timeout_s)

    async def commit(self, positions: Sequence[Position]) -> None:
        await self._consumer.commit(positions)

    def assignment(self) -> frozenset[tuple[str, int]]:
        return self._consumer.assignment()

    def lag(self) -> int:
        return 0 if self._late else self._consumer.lag()

    def ends_known(self) -> bool:
        return not self._late and self._consumer.ends_known()

    async def close(self) -> None:
        await self._consumer.close()


class LateBus(EmbeddedBus):
    """Its consumers are `Late`."""

    async def consumer(  # type: ignore[override]  # the port's Consumer, and no EmbeddedConsumer
        self, topics: Sequence[Topic[Any]], *, group: str | None, from_start: bool = True
    ) -> Consumer:
        return Late(await super().consumer(topics, group=group, from_start=from_start))


async def test_a_topic_is_not_taken_for_empty_before_the_broker_has_told_where_it_ends() -> None:
    bus = LateBus(ManualClock())
    await bus.start()
    first, second = ConfigFeed(bus, ManualClock()), ConfigFeed(bus, ManualClock())
    try:
        assert (await first.read_all()).newest is None
        version = await first.publish("site: {name: Farm}")
        assert (await second.read_all()).newest == version
    finally:
        await first.close()
        await second.close()
        await bus.stop()
