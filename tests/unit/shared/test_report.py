"""Exceptions of the device become events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.domain.clock import ManualClock
from shared.domain.ids import DEVICE_CHANNEL
from shared.messages import EventKind, EventMessage, EventPhase
from shared.report import Reporter
from shared.topics import EVENTS


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
