"""An object server that is killed, refuses, or does not let us in: recording does not care, people are told, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from services.storage.adapters.layout import Layout
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.config.services import S3Objects
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import EventMessage
from shared.objects.minio import MinioObjectStore
from shared.topics import EVENTS
from tests.support.minio import PASSWORD, USER, MinioServer
from tests.support.segments import Feed, payloads
from tests.support.storing import Storing, next_of, of_service, on_bus, site, storing
from tests.support.waiting import until, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server

#: Seconds of the outage. The service's time-outs and back-offs are shorter; minutes are tried by hand with this.
OUTAGE_S = float(os.environ.get("VEDETTE_OUTAGE_S", "10"))


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    server = MinioServer.start(tmp_path_factory.mktemp("minio"))
    yield server
    server.stop()


def objects(config: S3Objects, **other: str) -> dict[str, Any]:
    """The section of the site file."""
    keys = {"access_key": USER, "secret_key": PASSWORD}
    return {**config.model_dump(exclude={"access_key", "secret_key"}), **keys, **other}


async def here(store: Storing) -> set[str]:
    """Recordings whose files are on this disk."""
    return {path.stem for path in await asyncio.to_thread(Layout(store.data_dir).local_files)}


async def uploaded(store: Storing) -> bool:
    """Whether all but the file that is being written is in the object store."""
    return len(await here(store)) <= 1


async def closed(store: Storing) -> list[dict[str, Any]]:
    """Finished recordings, oldest first."""
    return sorted((found for found in await store.recordings() if not found["open"]), key=lambda found: int(found["start_ns"]))


def killed_in_an_upload(server: MinioServer) -> None:
    """Watched in a thread: an upload that is seen late is over."""
    multipart = server.folder / "data" / ".minio.sys" / "multipart"
    wait_for(lambda: any(multipart.rglob("part.*")), what="an upload is under way", every_s=0.005)
    server.kill()


async def media(store: Storing, recording: dict[str, Any], range_: str = "") -> bytes:
    answer = await store.http.get(f"/api/recordings/{recording['id']}/media", headers={"Range": range_} if range_ else {})
    assert answer.status_code in (200, 206), answer.text
    return answer.content


async def test_killed_in_the_middle_of_an_upload_it_costs_nothing(tmp_path: Path, server: MinioServer) -> None:
    config = site("door", storage={"file_s": 60}, objects=objects(server.config))
    feed = Feed(pool=payloads(4, gop=10, kbit=6000, size=(640, 360)), size=(640, 360))
    async with storing(tmp_path / "data", config) as store:
        await store.keep(*feed.take(65))
        first = (await until(lambda: closed(store), "a file is closed"))[0]
        assert first["size_bytes"] > 32 * 1024 * 1024, "it goes in parts"

        async def away() -> bool:
            return first["id"] not in await here(store)

        await until(away, "the first file is in the object store", deadline_s=120)
        assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).status_code == 200
        whole = await media(store, first)
        assert len(whole) == first["size_bytes"]

        killed = asyncio.ensure_future(asyncio.to_thread(killed_in_an_upload, server))
        while not killed.done():
            await store.keep(*feed.take(20))
        await killed
        await store.keep(*feed.take(120))  # recording goes on
        assert sum(found["frames"] for found in await store.recordings()) == len(feed.made) * 10

        async def waiting() -> list[dict[str, Any]]:
            local = await here(store)
            return [found for found in await closed(store) if found["id"] in local]

        second = (await until(waiting, "a finished file waits"))[0]
        assert len(await media(store, second)) == second["size_bytes"]  # from the disk
        assert (await store.http.put(f"/api/recordings/{second['id']}/lock")).status_code == 200
        assert (await store.http.delete(f"/api/recordings/{first['id']}/lock")).status_code == 200  # its object follows
        assert not await uploaded(store)
        await asyncio.sleep(OUTAGE_S)  # the length of the outage is what is tried
        await asyncio.to_thread(server.restart)
        await until(lambda: uploaded(store), "all is in the object store", deadline_s=240)
        assert await media(store, second, "bytes=1000000-1000999") == (await media(store, second))[1000000:1001000]
        assert await media(store, first) == whole

        async def locked() -> list[str]:
            return [info.key async for info in (await store.service.buckets.open("recordings")).locked()]

        async def as_wanted() -> bool:
            return await locked() == [f"vedette/door/{_day(second)}/{second['start_ns']}.mp4"]

        await until(as_wanted, "the locks are those of the rows", deadline_s=120)
        await store.service.stop()
        assert await store.check() == []


def _day(recording: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(recording['start_ns'] / 1e9, UTC):%Y/%m/%d/%H}"


@asynccontextmanager
async def watched(folder: Path, config: SiteConfig) -> AsyncIterator[tuple[Storing, Consumer]]:
    """A service, and who hears from its first moment what it tells."""
    clock = SystemClock()
    async with on_bus(EmbeddedBus(clock)) as bus, of_service(bus, folder, config, clock) as store:
        events = await store.listen(EVENTS)
        await store.service.start()
        assert await store.service.wait_ready(60), store.service.not_ready
        yield store, events


async def told(consumer: Consumer, source: str = "storage.error.objects") -> str:
    event = await next_of(consumer, lambda message: isinstance(message, EventMessage) and message.source == source)
    assert isinstance(event, EventMessage)
    return event.message


async def test_wrong_keys_are_told_at_once_and_recording_goes_on(tmp_path: Path, server: MinioServer) -> None:
    for wrong, hint in (
        ({"access_key": "nobody"}, "check objects.access_key"),
        ({"secret_key": "wrong-secret"}, "check objects.secret_key"),
    ):
        folder = tmp_path / hint.split(".")[-1]
        config = site("door", objects=objects(server.config, **wrong))
        async with watched(folder, config) as (store, events):
            text = await told(events)
            assert hint in text
            assert "wrong-secret" not in text
            await store.keep(*Feed().take(10))
            health = store.service.health()
            assert (health.ok, "storage.error.objects" in health.summary) == (True, True)
            assert hint in str(health.details["objects"])
            assert sum(found["frames"] for found in await store.recordings()) == 100


async def test_missing_rights_are_told_and_once_given_all_goes_on(tmp_path: Path, server: MinioServer) -> None:
    user, secret = f"u-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    admin = MinioAdmin(endpoint=server.config.endpoint, credentials=StaticProvider(USER, PASSWORD), secure=False)
    await asyncio.to_thread(admin.user_add, user, secret)
    await asyncio.to_thread(admin.policy_set, "readonly", user)
    config = site("door", objects=objects(server.config, access_key=user, secret_key=secret))
    async with watched(tmp_path, config) as (store, events):
        text = await told(events)
        assert "AccessDenied" in text or "may not make it" in text
        await store.keep(*Feed().take(10))
        assert not await uploaded(store)
        await asyncio.to_thread(admin.policy_unset, "readonly", user)
        await asyncio.to_thread(admin.policy_set, "readwrite", user)
        await until(lambda: uploaded(store), "all is in the object store", deadline_s=180)
        await until(lambda: store.service.health().summary == "recording", "it is told that it is over", deadline_s=120)
        await store.service.stop()
        assert await store.check() == []


async def test_what_an_older_start_could_not_lock_is_locked_at_the_next(tmp_path: Path, server: MinioServer) -> None:
    config = site("door", objects=objects(server.config))
    async with storing(tmp_path, config) as store:
        await store.keep(*Feed().take(10))
        await until(lambda: uploaded(store), "the first files are in the object store", deadline_s=120)
        first, second = sorted(await store.recordings(), key=lambda found: found["start_ns"])[:2]
        assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).status_code == 200
        names = sorted([info.key async for info in (await store.service.buckets.open("recordings")).list()])
    other = MinioObjectStore(server.config, "recordings")  # somebody else, or a process that ended between row and object
    await other.start()
    await other.unlock(names[0])
    await other.lock(names[1])
    found = await store.check()
    assert [text.partition(" ")[0] for text in found] == ["S10", "S10"]
    async with storing(tmp_path, config) as store:

        async def locked() -> list[str]:
            return [info.key async for info in other.locked()]

        async def as_wanted() -> bool:
            return await locked() == [names[0]]

        await until(as_wanted, "the locks are those of the rows", deadline_s=120)
        assert second["locked"] is False
    assert await store.check() == []
    await other.stop()
