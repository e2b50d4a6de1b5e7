"""Storage begins whatever is away, says why it waits, loses nothing meanwhile, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, SystemClock
from shared.messages import ActionKind, ActionPhase
from shared.topics import ACTIONS
from tests.support.clocks import SetClock
from tests.support.postgres import PostgresServer
from tests.support.segments import START_NS, Feed
from tests.support.set_clock import a_day_goes_by
from tests.support.storing import Storing, command, next_of, of_service, on_bus, site, storing, until

pytestmark = pytest.mark.integration


@asynccontextmanager
async def begun(data_dir: Path, config: SiteConfig) -> AsyncIterator[Storing]:
    """Started, ready or not."""
    clock = SystemClock()
    async with on_bus(EmbeddedBus(clock)) as bus, of_service(bus, data_dir, config, clock) as store:
        await store.service.start()
        yield store


async def answers_503(http: httpx.AsyncClient, why: str) -> None:
    for method, path in (
        ("GET", "/api/recordings"),
        ("GET", "/api/timeline?channel=door&from_ns=0&to_ns=5"),
        ("GET", "/api/recordings/some/media"),
        ("PUT", "/api/recordings/some/lock"),
    ):
        answer = await http.request(method, path)
        assert (answer.status_code, why in answer.json()["detail"]) == (503, True), (path, answer.text)


async def test_a_database_that_is_away_at_the_start_is_waited_for(tmp_path: Path, postgres: PostgresServer) -> None:
    config = site("door", database={"url": postgres.database()})
    postgres.kill()
    try:
        async with begun(tmp_path, config) as store:
            await until(lambda: "the catalogue cannot be reached" in store.service.health().summary, "it says why it waits")
            assert not store.service.health().ok
            await answers_503(store.http, "the catalogue cannot be reached")
            pending = await store.send(*Feed().take(3))
            await store.bus.producer.publish(ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + NS_PER_S, name="early"))
            results = await store.listen(ACTIONS)
            assert not any(future.done() for future in pending)
            await asyncio.to_thread(postgres.restart)
            assert await store.service.wait_ready(60)
            await asyncio.wait_for(asyncio.gather(*pending), 240)
            done = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
            assert getattr(done, "phase", None) is ActionPhase.DONE
            assert [r["frames"] for r in await store.recordings()] == [30]
            assert store.service.health().ok
    finally:
        postgres.restart()
    assert await store.check() == []


async def test_a_database_that_goes_and_comes_back_costs_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    config = site("door", database={"url": postgres.database()})
    feed = Feed()
    try:
        async with storing(tmp_path, config) as store:
            await store.keep(*feed.take(3))
            postgres.kill()
            await answers_503(store.http, "the catalogue")
            pending = await store.send(*feed.take(3))
            await until(lambda: not store.service.health().ok, "health tells of it, after half a minute", deadline_s=120)
            await until(lambda: "the catalogue cannot be reached" in str(store.service.health().details.get("storage.error")), "and why")
            await asyncio.to_thread(postgres.restart)
            await asyncio.wait_for(asyncio.gather(*pending), 240)
            assert sum(r["frames"] for r in await store.recordings()) == 60
            await until(lambda: store.service.health().ok and "storage.error" not in store.service.health().details, "it is over")
    finally:
        postgres.restart()
    assert await store.check() == []


async def test_a_database_that_breaks_off_again_and_again_loses_and_doubles_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    """Whether a transaction that was cut off was committed, nobody knows: it must not matter."""
    config = site("door", "yard", database={"url": postgres.database()}, storage={"file_s": 6})
    feeds = Feed("door", 1), Feed("yard", 2)
    try:
        async with storing(tmp_path, config) as store:
            for number in range(6):
                pending = await store.send(*(message for _ in range(12) for message in (feeds[0].next(), feeds[1].next())))
                await asyncio.wait(pending[: 1 + number * 3])
                postgres.kill()
                await asyncio.to_thread(postgres.restart)
                await asyncio.wait_for(asyncio.gather(*pending), 240)
        assert sum(len(feed.made) for feed in feeds) == 144
        async with storing(tmp_path, config) as store:
            assert sum(r["frames"] for r in await store.recordings()) == 1440
    finally:
        postgres.restart()
    assert await store.check() == []


async def test_a_file_in_the_way_of_the_catalogue_is_waited_out(tmp_path: Path) -> None:
    (tmp_path / "db" / "catalogue.sqlite").mkdir(parents=True)
    async with begun(tmp_path, site("door")) as store:
        await until(lambda: "unable to open database file" in store.service.health().summary, "it says why it waits")
        await answers_503(store.http, "storage is starting")
        pending = await store.send(*Feed().take(2))
        (tmp_path / "db" / "catalogue.sqlite").rmdir()
        await asyncio.wait_for(asyncio.gather(*pending), 240)
        assert [r["frames"] for r in await store.recordings()] == [20]


async def test_channels_that_the_site_names_no_more_still_expire(tmp_path: Path) -> None:
    """By what was last asked for them; a channel that was never to expire stays."""
    old = site("door", "yard", recording={"keep_days": 50_000})
    old = old.model_copy(update={"channels": (*old.channels, *site("gate").channels)})
    clock = SetClock()
    async with storing(tmp_path, old, clock) as store:
        await store.keep(*(message for n, name in enumerate(("door", "yard", "gate"), 1) for message in Feed(name, n).take(3)))
    shorter = site("door", "yard", recording={"keep_days": 1})
    shorter = shorter.model_copy(update={"channels": shorter.channels[1:]})  # without door, and yard is kept for a day
    async with storing(tmp_path, shorter, clock) as store:
        await a_day_goes_by(store, clock)

        async def kept() -> bool:
            return {r["channel"] for r in await store.recordings()} == {"door", "gate"}

        await until(kept, what="yard has expired, door is within its 50,000 days, gate stays")
    later = site("door", "yard", recording={"keep_days": 1})
    async with storing(tmp_path, later, clock):
        pass
    async with storing(tmp_path, site("attic"), clock) as store:

        async def expired() -> bool:
            return [r["channel"] for r in await store.recordings()] == ["gate"]

        await until(expired, what="door has expired by its last limit")
    assert await store.check() == []
