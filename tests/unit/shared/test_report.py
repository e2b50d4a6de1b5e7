"""Exceptions of the device become events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.domain.clock import ManualClock
from shared.domain.ids import DEVICE_CHANNEL
from shared.messages import EventKind, EventMessage, EventPhase
from shared.report import MAX_WAITING, REMIND_NS, RETRY_S, Reporter
from shared.topics import EVENTS
from tests.support.waiting import until


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bus(clock: ManualClock) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(clock)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def events(bus: EmbeddedBus) -> Consumer:
    return await bus.consumer([EVENTS], group=None)


@pytest.fixture
def reporter(bus: EmbeddedBus, clock: ManualClock) -> Reporter:
    return Reporter(bus.producer, clock, "north")


async def published(events: Consumer) -> list[EventMessage]:
    return [record.message for record in await events.poll(timeout_s=0) if isinstance(record.message, EventMessage)]


async def test_an_exception_begins_once_and_ends(reporter: Reporter, events: Consumer, clock: ManualClock) -> None:
    await reporter.raise_("storage.full", "no room")
    clock.advance(5)
    await reporter.raise_("storage.full", "still no room")
    clock.advance(5)
    await reporter.clear("storage.full")
    await reporter.clear("storage.full")
    started, ended = await published(events)
    assert (started.kind, started.source, started.phase, started.channel) == (
        EventKind.EXCEPTION, "storage.full", EventPhase.STARTED, DEVICE_CHANNEL,
    )  # fmt: skip
    assert started.message == "no room"
    assert (ended.phase, ended.event_id, ended.start_ns) == (EventPhase.ENDED, started.event_id, started.start_ns)
    assert ended.end_ns == started.start_ns + 10 * 10**9


async def test_what_is_raised_again_after_its_end_is_another_event(reporter: Reporter, events: Consumer, clock: ManualClock) -> None:
    for _ in range(2):
        await reporter.raise_("storage.full", "")
        await reporter.clear("storage.full")
        clock.advance(1)
    first, _, second, _ = await published(events)
    assert first.event_id != second.event_id


async def test_channels_have_their_own_exceptions(reporter: Reporter, events: Consumer) -> None:
    await reporter.raise_("camera.timestamp_jump", "", channel="gate", number=3)
    await reporter.raise_("camera.timestamp_jump", "", channel="yard", number=4)
    assert {(event.channel, event.channel_number) for event in await published(events)} == {("gate", 3), ("yard", 4)}


async def test_a_momentary_exception_begins_and_ends_at_once(reporter: Reporter, events: Consumer) -> None:
    await reporter.loop_failed("cleaner", OSError("disk of rtsp://u:secret99@cam/ is gone"))
    started, ended = await published(events)
    assert (started.phase, ended.phase) == (EventPhase.STARTED, EventPhase.ENDED)
    assert started.event_id == ended.event_id
    assert started.source == "loop.failed"
    assert "cleaner" in started.message
    assert "secret99" not in started.message


async def test_a_bus_that_is_away_does_not_stop_what_is_reported_on(reporter: Reporter, bus: EmbeddedBus) -> None:
    await bus.stop()
    await reporter.tell("clock.jump", "an hour")
    await reporter.stop()


async def next_of(events: Consumer, count: int, clock: ManualClock) -> list[EventMessage]:
    """The next events, while time passes."""
    found: list[EventMessage] = []

    async def enough() -> bool:
        clock.advance(RETRY_S)
        found.extend(await published(events))
        return len(found) >= count

    await until(enough, f"{count} events")
    return found


async def test_what_is_reported_while_the_bus_is_away_is_told_in_order_when_it_is_back(
    reporter: Reporter, bus: EmbeddedBus, clock: ManualClock
) -> None:
    await bus.stop()
    begun_ns = clock.now_ns()
    await reporter.raise_("storage.full", "no room")
    await reporter.tell("clock.jump", "an hour")
    clock.advance(5)
    await reporter.raise_("spool.full", "no room", channel="gate", number=3)
    await reporter.clear("spool.full", channel="gate", number=3)
    await bus.start()
    events = await bus.consumer([EVENTS], group=None)
    found = await next_of(events, 5, clock)
    assert [(event.source, event.phase) for event in found] == [
        ("storage.full", EventPhase.STARTED), ("clock.jump", EventPhase.STARTED), ("clock.jump", EventPhase.ENDED),
        ("spool.full", EventPhase.STARTED), ("spool.full", EventPhase.ENDED),
    ]  # fmt: skip
    assert found[0].start_ns == found[0].at_ns == begun_ns
    await reporter.clear("storage.full")
    (ended,) = await published(events)
    assert (ended.phase, ended.event_id) == (EventPhase.ENDED, found[0].event_id)
    await reporter.stop()


async def test_what_waits_is_bounded_and_what_lasts_is_told_all_the_same(reporter: Reporter, bus: EmbeddedBus, clock: ManualClock) -> None:
    await bus.stop()
    await reporter.raise_("storage.full", "no room")
    for _ in range(MAX_WAITING):
        await reporter.tell("clock.jump", "an hour")
        clock.advance(0.001)
    await bus.start()
    events = await bus.consumer([EVENTS], group=None)
    found = await next_of(events, MAX_WAITING, clock)
    assert {event.source for event in found} == {"clock.jump"}
    (reminder,) = await next_of(events, 1, clock)
    assert (reminder.source, reminder.phase, reminder.message) == ("storage.full", EventPhase.UPDATED, "no room")
    await reporter.stop()


async def test_what_lasts_is_said_again_every_minute_until_it_is_over(reporter: Reporter, events: Consumer, clock: ManualClock) -> None:
    await reporter.raise_("storage.full", "no room")
    await reporter.raise_("storage.low", "little room")
    assert len(await published(events)) == 2
    before_ns = clock.now_ns()
    first, second = await next_of(events, 2, clock)
    assert (first.source, first.phase, second.source, second.phase) == (
        "storage.full", EventPhase.UPDATED, "storage.low", EventPhase.UPDATED,
    )  # fmt: skip
    assert first.at_ns - before_ns == REMIND_NS
    await reporter.clear("storage.full")
    await reporter.clear("storage.low")
    assert [event.phase for event in await published(events)] == [EventPhase.ENDED, EventPhase.ENDED]

    def quiet() -> bool:
        clock.advance(RETRY_S)
        return clock.sleepers == 0

    await until(quiet, "nothing is left to be said")
    await reporter.stop()


async def test_what_lasts_while_the_clock_is_set_back_is_told_as_later_each_time(
    reporter: Reporter, events: Consumer, clock: ManualClock
) -> None:
    await reporter.raise_("storage.full", "no room")
    before = await next_of(events, 2, clock)
    clock.jump(-3600)
    after = await next_of(events, 2, clock)
    await reporter.clear("storage.full")
    (ended,) = await published(events)
    times = [event.at_ns for event in (*before, *after, ended)]
    assert times == sorted(set(times))  # what is not later is taken for a repetition
    assert ended.end_ns == ended.at_ns
    await reporter.stop()
