"""A camera that goes offline is an alarm, once, until it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from services.alarms.adapters.book import Book
from services.alarms.cameras import Cameras
from services.alarms.core.handling import is_news
from services.alarms.core.offline import SOURCE
from services.alarms.core.record import Alarm
from shared.config.services import DatabaseConfig
from shared.db.engine import create_engine, database_url
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.media import StreamKind
from shared.messages import AlarmState, ChannelStatus, EventKind, EventMessage, EventPhase
from shared.messages.media import ChannelState
from shared.topics import CHANNEL_STATUS
from tests.support.alarms import Running, pass_time, running, site_config
from tests.support.waiting import until

ONLINE, OFFLINE, CONNECTING, DISABLED = ChannelState.ONLINE, ChannelState.OFFLINE, ChannelState.CONNECTING, ChannelState.DISABLED


class Ingest:
    """Publishes what ingest says of one camera. Times are seconds after `base_ns`."""

    def __init__(self, base_ns: int, channel: int = 1) -> None:
        self.base_ns, self.channel = base_ns, channel
        self.state, self.since_s, self.reason = CONNECTING, 0.0, ""

    def status(self, state: ChannelState, at_s: float, stream: StreamKind = StreamKind.MAIN) -> ChannelStatus:
        if state is not self.state:
            self.state, self.since_s = state, at_s
        return ChannelStatus(
            channel=f"cam{self.channel}", channel_number=self.channel, device="recorder", stream=stream, state=state,
            reason="connection refused" if state is OFFLINE else "", since_ns=self.ns(self.since_s), at_ns=self.ns(at_s),
        )  # fmt: skip

    def ns(self, at_s: float) -> int:
        return self.base_ns + round(at_s * NS_PER_S)

    async def say(self, recorder: Running, state: ChannelState, *at_s: float, **more: Any) -> None:
        for moment in at_s:
            await recorder.bus.producer.publish(CHANNEL_STATUS, self.status(state, moment, **more))


async def only_alarm(recorder: Running, **fields: Any) -> Alarm:
    """Wait until the one alarm is so."""

    async def found() -> list[Alarm]:
        (alarm,) = await recorder.alarms()
        return [alarm] if all(getattr(alarm, name) == value for name, value in fields.items()) else []

    (alarm,) = await until(found, str(fields))
    return alarm


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_offline_for_longer_than_the_delay_is_an_alarm_until_it_is_back(tmp_path: Path, clock: ManualClock) -> None:
    ingest = Ingest(clock.now_ns())
    async with running(site_config(), tmp_path, clock) as recorder:
        await ingest.say(recorder, ONLINE, 0, 5)
        await ingest.say(recorder, OFFLINE, 8, 13, 18, 23, 28)
        (alarm,) = await recorder.wait_alarms(1)
        assert (alarm.kind, alarm.source, alarm.channel) == (EventKind.EXCEPTION, "camera.offline", "cam1")
        assert (alarm.start_ns, alarm.hits) == (ingest.ns(8), 1)
        assert alarm.message == "the camera is offline: connection refused"
        await ingest.say(recorder, ONLINE, 30, 35)
        await only_alarm(recorder, live=frozenset())
        await pass_time(clock, 7)
        alarm = await only_alarm(recorder, state=AlarmState.ENDED)
        assert (alarm.end_ns, alarm.hits, alarm.message) == (ingest.ns(30), 1, "the camera is offline: connection refused")
        assert await recorder.problems() == []


async def test_away_for_a_moment_switched_off_or_only_the_sub_stream_is_none(tmp_path: Path, clock: ManualClock) -> None:
    first, second = Ingest(clock.now_ns()), Ingest(clock.now_ns(), 2)
    async with running(site_config(), tmp_path, clock) as recorder:
        for away_s in (10, 30, 50):
            await first.say(recorder, OFFLINE, away_s, away_s + 5, away_s + 9.9)
            await first.say(recorder, ONLINE, away_s + 10, away_s + 15)
        await first.say(recorder, DISABLED, 80, 120)
        await first.say(recorder, OFFLINE, 200, 210)
        await second.say(recorder, OFFLINE, 0, 60, stream=StreamKind.SUB)
        await second.say(recorder, ONLINE, 70)
        await second.say(recorder, OFFLINE, 300, 310)
        alarms = await recorder.wait_alarms(2)
        assert [(alarm.channel, alarm.start_ns) for alarm in alarms] == [("cam1", first.ns(200)), ("cam2", second.ns(300))]


async def test_a_restart_of_alarms_and_of_ingest_makes_no_second_alarm(tmp_path: Path, clock: ManualClock) -> None:
    site, base_ns = site_config(), clock.now_ns()
    ingest = Ingest(base_ns)
    async with running(site, tmp_path, clock) as recorder:
        await ingest.say(recorder, OFFLINE, 0, 10, 15)
        await recorder.wait_alarms(1)
    async with running(site, tmp_path, clock) as recorder:  # ingest goes on: the same absence
        await ingest.say(recorder, OFFLINE, 20, 25, 90)
        await only_alarm(recorder, hits=1, last_ns=ingest.ns(90))
    ingest = Ingest(base_ns)
    async with running(site, tmp_path, clock) as recorder:  # ingest has started too, and finds the camera away
        await ingest.say(recorder, CONNECTING, 100, 105)
        await ingest.say(recorder, OFFLINE, 110, 120, 130, 160)
        alarm = await only_alarm(recorder, hits=1, last_ns=ingest.ns(160))
        assert (alarm.start_ns, len(alarm.live)) == (base_ns, 1)
        await ingest.say(recorder, ONLINE, 170)
        await only_alarm(recorder, hits=1, last_ns=ingest.ns(170), live=frozenset())
        await ingest.say(recorder, OFFLINE, 1000, 1010)
        assert [alarm.start_ns for alarm in await recorder.wait_alarms(2)] == [base_ns, ingest.ns(1000)]
        assert await recorder.problems() == []


async def test_the_delay_can_be_set(tmp_path: Path, clock: ManualClock) -> None:
    ingest = Ingest(clock.now_ns())
    async with running(site_config(alarms={"offline_after_s": 0}), tmp_path, clock) as recorder:
        await ingest.say(recorder, OFFLINE, 1)
        (alarm,) = await recorder.wait_alarms(1)
        assert alarm.start_ns == ingest.ns(1)


class Desk:
    """Statuses are judged as they come; the events that they make come to the book when `handle` is called: the bus lies between."""

    def __init__(self, book: Book, ingest: Ingest) -> None:
        self.book, self.ingest = book, ingest
        self.cameras = Cameras(book, 10 * NS_PER_S)
        self.under_way: list[EventMessage] = []
        self.kept: list[EventMessage] = []

    async def status(self, state: ChannelState, at_s: float) -> None:
        status = self.ingest.status(state, at_s)
        event = await self.cameras.on_status(status)
        assert await self.cameras.on_status(status) == event, "delivered again"
        self.under_way += [] if event is None else [event]

    def restart(self) -> None:
        """All that is left is in the book and on the bus."""
        self.cameras = Cameras(self.book, 10 * NS_PER_S)

    async def handle(self) -> None:
        """What the keeper and the service do with each event."""
        for event in self.under_way:
            async with self.book.write() as page:
                seen = await page.seen(event.event_id)
                if is_news(event, seen):
                    await page.save_event(event, None, new=seen is None)
                    self.kept.append(event)
            self.cameras.heard(event)
        self.under_way.clear()


#: Two absences, of 12 s and of 14 s.
ABSENCES = ((ONLINE, 0), (OFFLINE, 10), (OFFLINE, 21), (ONLINE, 22), (ONLINE, 27), (OFFLINE, 31), (OFFLINE, 42), (ONLINE, 45), (ONLINE, 50))


@pytest.fixture
async def book(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Book]:
    book = Book(create_engine(database_url(DatabaseConfig(), tmp_path, "alarms")), clock)
    await book.open()
    yield book
    await book.close()


async def test_each_absence_begins_and_ends_whenever_its_events_come_to_the_book(book: Book, clock: ManualClock) -> None:
    for number, handled in enumerate(product((False, True), repeat=7)):
        desk = Desk(book, Ingest(clock.now_ns(), number + 1))
        for (state, at_s), now in zip(ABSENCES, (True, True, *handled), strict=True):
            await desk.status(state, at_s)
            if now:
                await desk.handle()
        await desk.handle()
        told = [(event.phase, event.start_ns, event.end_ns) for event in desk.kept]
        first, second = desk.ingest.ns(10), desk.ingest.ns(31)
        assert told == [
            (EventPhase.STARTED, first, None), (EventPhase.ENDED, first, desk.ingest.ns(22)),
            (EventPhase.STARTED, second, None), (EventPhase.ENDED, second, desk.ingest.ns(45)),
        ], handled  # fmt: skip


async def test_no_absence_stays_open_when_alarms_is_killed_while_its_events_are_under_way(book: Book, clock: ManualClock) -> None:
    for number, (killed, *handled) in enumerate(product(range(2, 9), *[(False, True)] * 5)):
        desk = Desk(book, Ingest(clock.now_ns(), number + 1))
        for step, ((state, at_s), now) in enumerate(zip(ABSENCES, (True, True, *handled, False, False), strict=True)):
            if step == killed:
                desk.restart()
            await desk.status(state, at_s)
            if now:
                await desk.handle()
        for at_s in (55, 60, 65):
            await desk.handle()
            await desk.status(ONLINE, at_s)
        await desk.handle()
        async with book.read() as page:
            assert await page.unended(f"cam{number + 1}", SOURCE) is None, (killed, handled)
        assert {event.phase for event in desk.kept} == {EventPhase.STARTED, EventPhase.ENDED}
