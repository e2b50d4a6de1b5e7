"""The alarm book keeps the same promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection

from services.alarms.adapters.book import MIGRATIONS, Book
from services.alarms.adapters.rows import Delivery
from services.alarms.adapters.tables import metadata
from services.alarms.check import check
from services.alarms.core import anti_dither
from services.alarms.core.linkage import LogEntry
from services.alarms.core.record import Alarm
from shared.config.services import AlarmsConfig, DatabaseConfig
from shared.db.engine import create_engine, database_url
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.errors import CatalogueError, CatalogueUnavailable
from shared.messages import AlarmState, EventKind, EventPhase
from shared.topics import ALARMS
from tests.support.alarms import event, site_config

BASE_NS = 1_700_000_000 * NS_PER_S


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> DatabaseConfig:
    if request.param == "sqlite":
        return DatabaseConfig()
    return DatabaseConfig(url=SecretStr(request.getfixturevalue("postgres").database()))


@pytest.fixture
def url(database: DatabaseConfig, tmp_path: Path) -> str:
    return database_url(database, tmp_path, "alarms")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BASE_NS)


@pytest.fixture
async def book(url: str, clock: ManualClock) -> AsyncIterator[Book]:
    book = Book(create_engine(url), clock)
    await book.open()
    yield book
    await book.close()


def alarm_at(at_s: float, channel: int = 1, **changes: object) -> Alarm:
    begun = event(
        f"{channel} at {at_s}", at_s, base_ns=BASE_NS, channel=channel, direction="a_to_b", counts={"enter": 3}, message="Grüße ☃"
    )
    return replace(anti_dither.raised(begun, 5 * NS_PER_S, BASE_NS), **changes)  # type: ignore[arg-type]  # fields of Alarm


def downgraded(connection: Connection, revision: str) -> None:
    """Make the book one of an older version."""
    config = Config(attributes={"connection": connection, "version_table": "alembic_version_alarms"})
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    command.downgrade(config, revision)


def delivery_of(alarm: Alarm, name: str) -> Delivery:
    return Delivery(0, name, "station", alarm.channel, alarm.alarm_id, "raised", alarm.at_ns, "{}", BASE_NS, BASE_NS + 1, BASE_NS)


async def queue(book: Book, *names: str) -> list[Delivery]:
    """Queue messages of one alarm."""
    alarm = alarm_at(0)
    async with book.write() as page:
        if await page.alarm(alarm.alarm_id) is None:
            await page.save_alarm(alarm, 1, new=True)
        return [queued for name in names if (queued := await page.queue(delivery_of(alarm, name))) is not None]


async def test_the_migrations_make_the_tables_of_the_code(book: Book, url: str) -> None:
    await book.open()  # again: nothing is to be done
    engine = create_engine(url)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": "alembic_version_alarms"})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_a_transaction_is_true_as_a_whole_or_not_at_all(book: Book) -> None:
    first = event("a", 0, base_ns=BASE_NS)

    async def fail_half_way() -> None:
        async with book.write() as page:
            await page.save_alarm(alarm_at(0), 1, new=True)
            await page.save_event(first, alarm_at(0).alarm_id, new=True)
            await page.note([LogEntry(1, "cam1", "", "text")])
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await fail_half_way()
    async with book.read() as page:
        assert await page.seen(first.event_id) is None
        assert await page.search() == []
        assert await page.log_entries(10) == []


async def test_an_alarm_is_kept_as_it_is(book: Book) -> None:
    alarm = alarm_at(0, end_ns=2**63 - 1, track_id=2**40, acknowledged_by="ada", acknowledged_ns=5, note="the postman", snapshot="a/b.jpg")
    async with book.write() as page:
        await page.save_alarm(alarm, 7, new=True)
    async with book.write() as page:
        assert await page.alarm(alarm.alarm_id) == alarm
        changed = replace(alarm, hits=2, live=frozenset(), state=AlarmState.ENDED)
        await page.save_alarm(changed, None, new=False)
    async with book.read() as page:
        assert await page.alarm(alarm.alarm_id) == changed
        assert await page.next_due_ns() is None
        assert await page.alarm("none") is None


async def test_events_are_known_after_their_latest_message(book: Book) -> None:
    begun, over = (event("a", at_s, phase, base_ns=BASE_NS, start_s=0) for at_s, phase in ((0, EventPhase.STARTED), (3, EventPhase.ENDED)))
    async with book.write() as page:
        await page.save_event(begun, None, new=True)
    async with book.write() as page:
        await page.save_event(over, None, new=False)
    async with book.read() as page:
        seen = await page.seen(begun.event_id)
        assert seen is not None
        assert (seen.at_ns, seen.ended, seen.alarm_id) == (over.at_ns, True, None)
        assert await page.search_events(channel="cam1", kind=EventKind.TRIPWIRE, source="line") == [(over, None)]
        assert await page.search_events(to_ns=BASE_NS) == []


async def test_alarms_are_found_by_time_channel_kind_and_state(book: Book) -> None:
    lasting = alarm_at(0)
    over = alarm_at(60, 2, state=AlarmState.ENDED, live=frozenset(), end_ns=BASE_NS + 60 * NS_PER_S)
    async with book.write() as page:
        await page.save_alarm(lasting, BASE_NS, new=True)
        await page.save_alarm(over, None, new=True)
    async with book.read() as page:
        assert await page.search() == [over, lasting]
        assert await page.search(limit=1) == [over]
        assert await page.search(channel="cam1") == [lasting]
        assert await page.search(state=AlarmState.ENDED) == [over]
        assert await page.search(kind=EventKind.SMD) == []
        assert await page.search(from_ns=BASE_NS + 61 * NS_PER_S) == [lasting]  # it lasts
        assert await page.search(to_ns=BASE_NS + 1) == [lasting]
        assert await page.due(BASE_NS) == [lasting]
        assert await page.due(BASE_NS - 1) == []
        assert await page.count_open() == 1
        assert await page.records("cam2", "line", BASE_NS + 64 * NS_PER_S, 5 * NS_PER_S) == [over]
        assert await page.records("cam2", "line", BASE_NS + 65 * NS_PER_S, 5 * NS_PER_S) == []
        assert await page.records("cam2", "line", BASE_NS + 56 * NS_PER_S, 5 * NS_PER_S) == [over]
        assert await page.records("cam2", "line", BASE_NS + 55 * NS_PER_S, 5 * NS_PER_S) == []
        assert await page.records("cam2", "line", 2**63 - 1, 5 * NS_PER_S) == []


@pytest.mark.parametrize("lasting_s", [0, -3600], ids=["begun now", "that goes on for an hour"])
async def test_the_alarm_that_lasts_is_near_however_many_others_the_rule_has(book: Book, lasting_s: int) -> None:
    over: dict[str, Any] = {"state": AlarmState.ENDED, "live": frozenset(), "end_ns": BASE_NS}
    lasting = alarm_at(lasting_s)
    async with book.write() as page:
        await page.save_alarm(lasting, BASE_NS, new=True)
        for n in range(1, 100):
            await page.save_alarm(alarm_at(24 * 3600 + 10 * n, **over), None, new=True)  # the clock was a day ahead
            await page.save_alarm(alarm_at(n / 100, **over), None, new=True)
    async with book.read() as page:
        near = await page.records("cam1", "line", BASE_NS + 4 * NS_PER_S, 5 * NS_PER_S)
    assert near[0] == lasting
    assert all(alarm.start_ns < BASE_NS + NS_PER_S for alarm in near)


async def test_alarms_are_listed_in_the_order_in_which_they_were_raised(book: Book) -> None:
    day_s = 24 * 3600
    ahead, now, before = alarm_at(day_s), alarm_at(0), alarm_at(-day_s)  # the clock was ahead, and is then set back twice
    for alarm in (ahead, now, before):
        async with book.write() as page:
            await page.save_alarm(alarm, None, new=True)
    async with book.write() as page:
        await page.save_alarm(replace(ahead, hits=2), None, new=False)
    async with book.read() as page:
        listed = await page.search()
        assert [alarm.alarm_id for alarm in listed] == [before.alarm_id, now.alarm_id, ahead.alarm_id]
        assert [alarm.sequence for alarm in listed] == [3, 2, 1]
        assert await page.search(limit=1) == [before]


async def test_each_version_of_an_alarm_has_a_revision_of_its_own(book: Book) -> None:
    alarm, other = alarm_at(0), alarm_at(0, 2)
    for hits in (1, 2, 3):
        async with book.write() as page:
            await page.save_alarm(replace(alarm, hits=hits), None, new=hits == 1)
            await page.publish([(ALARMS, replace(alarm, hits=hits).as_message())])
    async with book.write() as page:
        await page.save_alarm(other, None, new=True)
        await page.publish([(ALARMS, other.as_message())])
    async with book.read() as page:
        told = [ALARMS.message.model_validate_json(body) for _, _, body in await page.unpublished(10)]
        assert [(message.hits, message.sequence, message.revision) for message in told] == [(1, 1, 1), (2, 1, 2), (3, 1, 3), (1, 2, 1)]
        assert [found.as_message() for found in await page.search()] == [told[-1], told[-2]]  # what is read is what was told last


async def test_the_book_of_an_older_version_is_taken_over(
    book: Book, database: DatabaseConfig, url: str, clock: ManualClock, tmp_path: Path
) -> None:
    async with book.write() as page:
        for at_s in (7, 5, 6):
            await page.save_alarm(alarm_at(at_s), 1, new=True)
            await page.save_event(event(f"1 at {at_s}", at_s, base_ns=BASE_NS), alarm_at(at_s).alarm_id, new=True)
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(downgraded, "0002")
    await engine.dispose()
    assert await check(site_config(database=database), tmp_path, clock.now_ns()) == []
    await book.open()
    async with book.write() as page:
        assert await page.search() == [alarm_at(7), alarm_at(6), alarm_at(5)]
        assert [(alarm.sequence, alarm.revision) for alarm in await page.search()] == [(3, 0), (2, 0), (1, 0)]
        await page.save_alarm(alarm_at(0), 1, new=True)
        assert [alarm.sequence for alarm in await page.search()] == [4, 3, 2, 1]


async def test_a_message_is_queued_once_and_stays_in_order(book: Book) -> None:
    queued = await queue(book, "a", "b", "c")
    assert await queue(book, "a", "b", "c") == []
    async with book.write() as page:
        assert await page.waiting() == queued
        await page.delivered(queued[0].sequence, 1, 10)
        await page.failed(queued[1].sequence, 1, 20, "busy")
        await page.bury([queued[2].sequence], 30, "too late")
    async with book.write() as page:
        (waiting,) = await page.waiting()
        assert (waiting.delivery_id, waiting.attempts, waiting.next_ns, waiting.error) == ("b", 1, 20, "busy")
        (dead,) = await page.dead_letters("station", 10)
        assert (dead.delivery_id, dead.settled_ns, dead.error) == ("c", 30, "too late")
        assert [again.delivery_id for again in await page.replay("station", ["c", "a"], 10, 40, 50)] == ["c"]
        assert await page.dead_letters(None, 10) == []
        assert [delivery.delivery_id for delivery in await page.waiting()] == ["b", "c"]


async def test_a_disabled_centre_stays_disabled_once(book: Book) -> None:
    await queue(book, "a")
    for reason in ("gone", "gone again"):
        async with book.write() as page:
            await page.disable("station", 1, reason)
    async with book.write() as page:
        assert await page.disabled() == {"station": "gone"}
        assert [letter.error for letter in await page.dead_letters("station", 10)] == ["gone"]
        await page.enable("station")
        assert await page.disabled() == {}


async def test_messages_leave_in_the_order_in_which_they_were_written(book: Book) -> None:
    messages = [alarm_at(at_s).as_message() for at_s in (3, 1, 2)]
    async with book.write() as page:
        await page.publish([(ALARMS, message) for message in messages])
    async with book.write() as page:
        rows = await page.unpublished(10)
        assert [ALARMS.message.model_validate_json(body) for _, _, body in rows] == messages
        await page.published([rows[0][0]])
        assert [row[0] for row in await page.unpublished(10)] == [rows[1][0], rows[2][0]]


async def test_what_is_old_is_forgotten_also_what_never_ends_but_not_what_lasts(book: Book, clock: ManualClock) -> None:
    keep, day_s = AlarmsConfig(keep_events_days=10, keep_log_days=5, keep_days=20), 24 * 3600
    lasting = alarm_at(0)
    over = alarm_at(1, 2, state=AlarmState.ENDED, live=frozenset(), end_ns=BASE_NS)
    counting: dict[str, Any] = {"base_ns": BASE_NS, "source": "people", "kind": EventKind.PEOPLE_COUNTING}
    events = {
        "of an alarm that lasts": (event("1 at 0", 0, base_ns=BASE_NS), lasting.alarm_id),
        "of an alarm that is over": (event("2 at 1", 1, base_ns=BASE_NS, channel=2), over.alarm_id),
        "a day's count": (event("yesterday", 0, EventPhase.UPDATED, **counting), None),
        "a count that goes on": (event("today", 10.5 * day_s, EventPhase.UPDATED, start_s=0, **counting), None),
    }
    async with book.write() as page:
        await page.save_alarm(lasting, BASE_NS, new=True)
        await page.save_alarm(over, None, new=True)
        for message, alarm_id in events.values():
            await page.save_event(message, alarm_id, new=True)
        await page.note([LogEntry(BASE_NS, "cam1", "", "old"), LogEntry(BASE_NS + 8 * day_s * NS_PER_S, "cam1", "", "new")])

    async def left(after_days: int) -> set[str]:
        clock.advance(after_days * day_s - (clock.now_ns() - BASE_NS) / NS_PER_S)
        async with book.write() as page:
            await page.prune(clock.now_ns(), keep)
        async with book.read() as page:
            return {name for name, (message, _) in events.items() if await page.seen(message.event_id) is not None}

    assert await left(9) == set(events)
    assert await left(11) == {"of an alarm that lasts", "a count that goes on"}
    async with book.read() as page:
        assert [entry.text for entry in await page.log_entries(10)] == ["new"]
        assert await page.search() == [over, lasting]
    assert await left(21) == {"of an alarm that lasts"}
    async with book.read() as page:
        assert await page.search() == [lasting]


async def test_a_clock_that_is_ahead_for_a_while_makes_nothing_be_forgotten(book: Book, url: str, clock: ManualClock) -> None:
    keep, day_s = AlarmsConfig(), 24 * 3600
    alarms = [alarm_at(n, state=AlarmState.ENDED, live=frozenset(), end_ns=BASE_NS) for n in range(3)]

    async def left(book: Book) -> int:
        async with book.write() as page:
            await page.prune(clock.now_ns(), keep)
            return len(await page.search())

    async with book.write() as page:
        for alarm in alarms:
            await page.save_alarm(alarm, None, new=True)
    assert await left(book) == 3
    clock.jump(400 * day_s)
    clock.advance(3600)
    assert await left(book) == 3
    again = Book(create_engine(url), clock)  # a start with the clock still ahead
    assert await left(again) == 3
    clock.jump(-400 * day_s)
    assert await left(again) == 3
    clock.advance(366 * day_s)  # they are forgotten when their time has come
    assert await left(again) == 0
    await again.close()


async def test_events_that_were_forgotten_while_the_clock_was_ahead_are_not_missing(
    book: Book, database: DatabaseConfig, clock: ManualClock, tmp_path: Path
) -> None:
    site, hour_s = site_config(database=database), 3600
    over = alarm_at(0, state=AlarmState.ENDED, live=frozenset(), end_ns=BASE_NS)
    async with book.write() as page:
        await page.save_alarm(over, None, new=True)
        await page.save_event(event("1 at 0", 0, EventPhase.ENDED, base_ns=BASE_NS), over.alarm_id, new=True)
    clock.advance((site.alarms.keep_events_days * 24 - 1) * hour_s)
    for set_s in (0, 400 * 24 * hour_s):
        clock.jump(set_s)
        clock.advance(hour_s / 10)
        async with book.write() as page:
            await page.prune(clock.now_ns(), site.alarms)
        clock.jump(-set_s)
    async with book.read() as page:
        assert await page.search_events() == []
    assert await check(site, tmp_path, clock.now_ns()) == []


async def test_writers_at_once_wait_for_each_other(book: Book) -> None:
    async def write(number: int) -> None:
        async with book.write() as page:
            await page.note([LogEntry(number, "cam1", "", str(number))])

    await asyncio.gather(*(write(number) for number in range(20)))
    async with book.read() as page:
        assert sorted(int(entry.text) for entry in await page.log_entries(100)) == list(range(20))


async def test_values_that_it_will_never_take_are_refused_for_good(book: Book) -> None:
    await queue(book, "a")
    with pytest.raises(CatalogueError, match="refused") as refused:
        async with book.write() as page:
            await page.save_alarm(alarm_at(0), 1, new=True)  # it is there
    assert not isinstance(refused.value, CatalogueUnavailable)
    assert book.trouble == ""
