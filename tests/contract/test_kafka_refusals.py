"""What a broker refuses for good costs nothing but itself: what comes behind it is taken, in order; other partitions see nothing of it."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from shared.bus.kafka import KafkaBus
from shared.bus.port import Position
from shared.domain.clock import seconds_to_ns
from shared.domain.errors import BusError, BusUnavailable, MessageTooLarge
from shared.messages import EventMessage
from tests.contract.bus_contract import Topics, event, ids, read
from tests.support.clocks import SetClock
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.kafka_topics import set_by_hand
from tests.support.waiting import until

pytestmark = pytest.mark.integration

_NUMBERS = itertools.count()
#: A broker's own limit: how far ahead of it the time of a message may be.
AN_HOUR = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "3600000"}
SMALL = {"max.message.bytes": "100000"}


@pytest.fixture
def topics() -> Topics:
    return Topics.named(str(next(_NUMBERS)))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def bus(broker: KafkaServer, topics: Topics, clock: SetClock) -> AsyncIterator[KafkaBus]:
    async with connected(broker, clock, topics=topics.all) as bus:
        yield bus


def large(number: int, name: str) -> EventMessage:
    """More than the broker takes, and less than is refused before it gets there."""
    return event(number, name).model_copy(update={"message": "x" * 200_000})


async def taken(bus: KafkaBus, topics: Topics, message: EventMessage) -> bool:
    try:
        await bus.producer.publish(topics.events, message)
    except BusUnavailable:
        return False
    return True


async def test_once_a_clock_that_was_far_ahead_is_right_messages_are_taken_again(
    broker: KafkaServer, bus: KafkaBus, topics: Topics, clock: SetClock
) -> None:
    await set_by_hand(broker, topics.events.name, AN_HOUR)
    consumer = await bus.consumer([topics.events], group="g")
    await bus.producer.publish(topics.events, event(0, "before"))
    clock.set_by_ns = seconds_to_ns(2 * 3600)
    for name in ("ahead", "still ahead"):
        with pytest.raises(BusUnavailable, match="clock is too far ahead of the broker's"):
            await bus.producer.publish(topics.events, event(0, name))
    clock.set_by_ns = 0
    await until(lambda: taken(bus, topics, event(0, "right")), "what comes after it is taken")
    assert ids(await read(consumer, 2)) == ["before", "right"]
    assert bus.trouble() == ""


async def test_that_the_clock_is_too_far_ahead_is_told(broker: KafkaServer, bus: KafkaBus, topics: Topics, clock: SetClock) -> None:
    await set_by_hand(broker, topics.events.name, AN_HOUR)
    clock.set_by_ns = seconds_to_ns(2 * 3600)

    async def told() -> bool:
        await taken(bus, topics, event(0, "ahead"))
        return "clock is too far ahead of the broker's" in bus.trouble()

    await until(told, "it is told")


async def test_what_is_sent_behind_a_refused_message_is_refused_with_it_and_taken_in_order_when_it_is_sent_again(
    broker: KafkaServer, bus: KafkaBus, topics: Topics
) -> None:
    """Nothing is lost, nothing stored that was told as refused, nothing overtakes: in three partitions, also behind the first message."""
    await set_by_hand(broker, topics.events.name, SMALL)
    consumer = await bus.consumer([topics.events], group="g")

    async def feed(number: int, sizes: Sequence[bool]) -> list[Position]:
        """Publish these, all enqueued before the first is acknowledged; what is refused for now again, in order."""
        waiting = [large(number, f"{number}.{i}") if too_large else event(number, f"{number}.{i}") for i, too_large in enumerate(sizes)]
        stored: list[Position] = []
        while waiting:
            futures: list[asyncio.Future[Position] | BusUnavailable] = []
            for message in waiting:
                try:
                    futures.append(await bus.producer.enqueue(topics.events, message))
                except BusUnavailable as refused:
                    futures.append(refused)
            again = []
            for message, future in zip(waiting, futures, strict=True):
                try:
                    if isinstance(future, BusUnavailable):
                        raise future
                    stored.append(await future)
                except BusUnavailable:
                    again.append(message)
                except MessageTooLarge:
                    assert message.message, "only what is too large is refused for its size"
            waiting = again
            if again:
                await until(lambda: not bus.producer.trouble, "another producer is there")
        return stored

    plans = {0: [False, True, False, False, True, True, False], 1: [True, False, False, False], 2: [False] * 7}
    async with asyncio.timeout(120):
        stored = await asyncio.gather(*(feed(number, sizes) for number, sizes in plans.items()))
    wanted = {number: [f"{number}.{i}" for i, too_large in enumerate(sizes) if not too_large] for number, sizes in plans.items()}
    assert [len(positions) for positions in stored] == [len(names) for names in wanted.values()]
    found = await read(consumer, sum(map(len, wanted.values())))
    assert {number: ids([record for record in found if record.position.partition == number]) for number in plans} == wanted
    assert sorted(record.position for record in found) == sorted(position for positions in stored for position in positions)
    assert await consumer.poll(timeout_s=1) == []


async def test_others_see_nothing_of_messages_that_are_refused_all_the_time(
    broker: KafkaServer, bus: KafkaBus, topics: Topics, clock: SetClock
) -> None:
    await set_by_hand(broker, topics.events.name, AN_HOUR)
    await set_by_hand(broker, topics.more.name, {"message.timestamp.type": "LogAppendTime"})
    clock.set_by_ns = seconds_to_ns(2 * 3600)
    refusals: list[BusError] = []

    async def refused() -> None:
        while True:
            try:
                await bus.producer.publish(topics.events, event(0, "ahead"))
            except BusUnavailable as error:
                refusals.append(error)
                await asyncio.sleep(0)

    refused_all_the_time = asyncio.create_task(refused())
    number = 0
    with capture_logs() as logs:
        while sum(entry["event"] == "publishing goes on with a new producer" for entry in logs) < 3:
            await asyncio.gather(*(bus.producer.publish(topics.more, event(lane, f"{number}.{lane}")) for lane in range(8)))
            number += 1
    refused_all_the_time.cancel()
    assert refusals


async def test_what_is_in_hand_while_the_broker_hangs_and_a_new_producer_is_opened_keeps_its_order(
    broker: KafkaServer, bus: KafkaBus, topics: Topics
) -> None:
    await set_by_hand(broker, topics.events.name, SMALL)
    consumer = await bus.consumer([topics.events], group="g")
    for number in (0, 1):
        await bus.producer.publish(topics.events, event(number, "first"))
    with pytest.raises(MessageTooLarge):
        await bus.producer.publish(topics.events, large(0, "refused"))
    broker.process.send_signal(signal.SIGSTOP)
    try:
        under_way = [await bus.producer.enqueue(topics.events, event(1, f"{i}")) for i in range(5)]
    finally:
        broker.process.send_signal(signal.SIGCONT)
    await until(lambda: taken(bus, topics, event(0, "after")), "the other partition goes on")
    await until(lambda: taken(bus, topics, event(1, "5")), "and so does this one")
    await asyncio.gather(*under_way)
    found = await read(consumer, 9)
    assert ids([record for record in found if record.position.partition == 0]) == ["first", "after"]
    assert ids([record for record in found if record.position.partition == 1]) == ["first", *map(str, range(6))]
