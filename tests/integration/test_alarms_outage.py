"""The alarm book's database goes away and comes back: nothing is lost, nothing happens twice, and people are told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection
from sqlalchemy import event as events_of

from services.alarms.api import router
from services.alarms.app import AlarmService
from shared.bus.port import Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import ManualClock, SystemClock
from shared.messages import AlarmMessage, AlarmState, DeadLetter, Message
from shared.topics import DEAD_LETTERS
from tests.support.alarms import asleep, centre_config, crossing, receiver, running, site_config, timers_sleep
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.waiting import until

OUTAGES = 4
#: Groups of 3 hits within the period, the groups far apart: each is one alarm with 3 hits.
GROUPS, CHANNELS = 15, 2


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    yield postgres
    postgres.restart()


def site_on(server: PostgresServer, *centres: dict[str, object]) -> SiteConfig:
    return site_config(*centres, channels=CHANNELS, database={"url": server.database()})


@asynccontextmanager
async def api_of(service: AlarmService) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(router(service))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_stopped_and_back_in_mid_run_no_event_is_lost_and_no_alarm_is_twice(server: PostgresServer, tmp_path: Path) -> None:
    async with receiver() as centre:
        site = site_on(server, centre_config(centre.url))
        async with running(site, tmp_path) as recorder:
            base_ns = recorder.clock.now_ns()

            async def send(channel: int) -> None:
                for group in range(GROUPS):
                    for number in range(3):
                        events = crossing(f"{channel}.{group}.{number}", 60 * group + number, base_ns=base_ns, channel=channel)
                        await recorder.send(*events, *events)  # each delivered twice
                        await asyncio.sleep(random.uniform(0, 0.05))  # so that outages fall into the midst of it

            sending = asyncio.gather(*(send(channel) for channel in range(1, CHANNELS + 1)))
            for _ in range(OUTAGES):
                await asyncio.to_thread(server.kill)
                await until(lambda: recorder.service.book.trouble, "the outage is met")
                health = recorder.service.health()
                assert not health.ok
                assert "the alarm book cannot be reached" in health.summary
                assert PASSWORD not in health.summary
                await asyncio.to_thread(server.restart)
                await until(lambda: recorder.service.health().ok, "it goes on")
            await sending

            async def all_handled() -> bool:
                alarms = await recorder.alarms(limit=1000)
                return sum(alarm.hits for alarm in alarms) == CHANNELS * GROUPS * 3

            await until(all_handled, "every event is handled")
            alarms = await recorder.alarms(limit=1000)
            assert Counter(alarm.hits for alarm in alarms) == {3: CHANNELS * GROUPS}
            ids = {alarm.alarm_id for alarm in alarms}
            await until(lambda: {arrival.alarm_id for arrival in centre.accepted()} == ids, "every alarm is told")
            assert max(Counter(arrival.webhook_id for arrival in centre.accepted()).values()) == 1
            for channel in range(1, CHANNELS + 1):
                told = [arrival.alarm_id for arrival in centre.accepted() if arrival.channel == f"cam{channel}"]
                assert told == [alarm.alarm_id for alarm in alarms if alarm.channel == f"cam{channel}"]

            def raised() -> Counter[str]:
                return Counter(m.alarm_id for m in recorder.published if isinstance(m, AlarmMessage) and m.state is AlarmState.RAISED)

            await until(lambda: set(raised()) == ids, "every alarm is published")
            assert recorder.service.health().details["failed"] == 0

            async def nothing_waits() -> bool:
                async with recorder.service.book.read() as page:
                    return not await page.waiting() and not await page.unpublished(1)

            await until(nothing_waits, "queue and outbox are empty")
            await recorder.wait_alarms(len(ids), quiet=True, limit=1000)  # what is being written is no problem
            assert await recorder.problems() == []


async def test_while_it_is_away_the_api_says_so(server: PostgresServer, tmp_path: Path) -> None:
    async with running(site_on(server), tmp_path) as recorder, api_of(recorder.service) as http:
        paths = ("/api/alarms", "/api/events", "/api/log", "/api/dead-letters", "/api/alarms/x")
        await asyncio.to_thread(server.kill)
        for path in paths:
            answer = await http.get(path)
            assert answer.status_code == 503, path
            assert "the alarm book cannot be reached" in answer.json()["detail"]
            assert PASSWORD not in answer.text
        assert (await http.post("/api/alarms/x/acknowledge", json={})).status_code == 503
        assert not recorder.service.health().ok
        await asyncio.to_thread(server.restart)
        await until(lambda: recorder.service.health().ok, "it is back")
        assert [(await http.get(path)).status_code for path in paths] == [200, 200, 200, 200, 404]


async def test_events_wait_for_a_book_that_is_not_there_at_the_start(server: PostgresServer, tmp_path: Path) -> None:
    site = site_on(server)
    await asyncio.to_thread(server.kill)
    async with running(site, tmp_path) as recorder:
        await recorder.send(*crossing("a", 0, base_ns=recorder.clock.now_ns()))
        health = recorder.service.health()
        assert not health.ok
        assert "the alarm book cannot be opened" in health.summary
        await asyncio.to_thread(server.restart)
        await until(lambda: recorder.service.health().ok, "it is opened")
        (alarm,) = await recorder.wait_alarms(1)
        assert alarm.hits == 1


async def test_an_event_that_the_database_never_takes_is_a_dead_letter_and_the_next_is_handled(
    server: PostgresServer, tmp_path: Path
) -> None:
    async with running(site_on(server), tmp_path) as recorder:
        base_ns = SystemClock().now_ns()
        letters: Consumer = await recorder.bus.consumer([DEAD_LETTERS], group=None)
        poison = crossing("poison", 0, base_ns=base_ns)[0].model_copy(update={"message": "a\x00b"})
        await recorder.send(poison, *crossing("a", 60, base_ns=base_ns))
        (alarm,) = await recorder.wait_alarms(1, to_ns=base_ns + 10**12, channel="cam1")
        assert alarm.start_ns == base_ns + 60 * 10**9
        found: list[Message] = [record.message for record in await letters.poll(timeout_s=5)]
        assert [isinstance(letter, DeadLetter) and letter.origin.startswith("events/") for letter in found] == [True]
        await letters.close()


async def test_an_alarm_whose_end_could_not_be_written_ends_when_the_book_is_back(tmp_path: Path) -> None:
    clock, failed = ManualClock(), list[str]()

    def fail(_connection: Connection) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "alarm timers" and not failed:
            failed.append("the connection is gone")
            raise ConnectionResetError(*failed)

    async with running(site_config(), tmp_path, clock) as recorder:
        await recorder.send(*crossing("a", 0, base_ns=clock.now_ns()))
        await recorder.wait_alarms(1, quiet=True)
        await timers_sleep(clock)
        events_of.listen(recorder.service.book._engine.sync_engine, "commit", fail)
        clock.advance(7)
        await until(lambda: failed, "its end is not written")

        async def over() -> bool:
            if asleep(clock, "alarm timers"):
                clock.advance(1)
            return [alarm.state for alarm in await recorder.alarms()] == [AlarmState.ENDED]

        await until(over, "it ends")
        assert await recorder.problems() == []
