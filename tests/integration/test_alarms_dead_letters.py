"""Messages that were given up, and are to be sent again before everybody has heard that they were."""

from __future__ import annotations

from pathlib import Path

from services.alarms.adapters.book import Book
from services.alarms.adapters.dispatcher import Dispatcher
from shared.bus.embedded import EmbeddedBus
from shared.db.engine import create_engine, database_url
from shared.domain.clock import SystemClock
from shared.report import Reporter
from shared.topics import EVENTS
from tests.integration.test_alarms_book import queue
from tests.support.alarms import centre_config, receiver, site_config
from tests.support.waiting import until


async def test_what_is_replayed_while_the_bus_has_no_room_for_the_notice_is_sent(tmp_path: Path) -> None:
    clock = SystemClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    await bus.consumer([EVENTS], group="who handles nothing")
    reporter = Reporter(bus.producer, clock, "recorder")
    for _ in range(EVENTS.capacity // 2):
        await reporter.tell("clock.jump", "")  # as two events; the next notice waits for room
    async with receiver() as centre:
        site = site_config(centre_config(centre.url, queue_max=1), channels=1)
        book = Book(create_engine(database_url(site.database, tmp_path, "alarms")), clock)
        await book.open()
        dispatcher = Dispatcher(site.centres, book, clock, reporter)
        await dispatcher.start()
        dispatcher.submit(await queue(book, "a", "b", "c"))

        async def given_up() -> list[str]:
            async with book.read() as page:
                return sorted(letter.delivery_id for letter in await page.dead_letters("station", 10))

        async def is_over() -> bool:
            return await given_up() == ["a", "b"] and dispatcher.centres()[0].queued == 0

        await until(is_over, "one is sent, two are dead letters")
        assert await dispatcher.replay("station", ["a"]) == 1
        await until(lambda: [arrival.webhook_id for arrival in centre.accepted()] == ["c", "a"], "it is sent again")
        await dispatcher.stop()
        await book.close()
    await bus.stop()
