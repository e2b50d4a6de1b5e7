"""A catalogue that is lost, or an old one that is put back, costs no footage: what lies in the object store is listed again."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.storage.check import check
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, ActionPhase
from shared.topics import ACTIONS
from tests.support.clocks import SetClock
from tests.support.segments import START_NS, Feed
from tests.support.set_clock import a_day_goes_by
from tests.support.storing import Storing, command, next_of, objects_of, put_back, site, storing, until

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server


@contextmanager
def bucket(kind: str, folder: Path) -> Iterator[SiteConfig]:
    """A site whose objects are on this disk, or in an S3 server."""
    with objects_of(kind, folder) as objects:
        yield site("door", "yard", storage={"file_s": 4}, objects=objects)


async def fill(folder: Path, config: SiteConfig, seconds: int = 10) -> tuple[list[dict[str, Any]], int]:
    """Footage of two channels, a lock, a snapshot, alarm footage; the recordings, and the bytes in use, after an orderly stop."""
    async with storing(folder, config) as store:
        results = await store.listen(ACTIONS)
        await store.keep(*Feed("door", 1).take(seconds), *Feed("yard", 2, audio=True).take(seconds))
        await store.bus.producer.publish(
            ACTIONS, command(ActionKind.SNAPSHOT, "door", at_ns=START_NS + NS_PER_S, key="vedette/door/2025/10/09/a1.jpg")
        )
        # Of the file that is still open: what is marked later than its end is in the catalogue alone.
        last_ns = START_NS + (seconds - 2) * NS_PER_S
        kept = command(ActionKind.RECORD, "yard", from_ns=last_ns, to_ns=last_ns + NS_PER_S, name="kept")
        await store.bus.producer.publish(ACTIONS, kept)
        for _ in range(2):
            done = await next_of(results, lambda m: m.phase is not ActionPhase.REQUESTED)
            assert getattr(done, "phase", None) is ActionPhase.DONE
        first = (await store.recordings("door"))[0]
        assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).status_code == 200
    async with storing(folder, config) as store:
        return await store.recordings(), (await store.http.get("/api/storage")).json()["used_bytes"]


def forget(folder: Path) -> None:
    for path in (folder / "db").glob("catalogue.sqlite*"):
        path.unlink()


async def listed(store: Storing, count: int) -> list[dict[str, Any]]:
    async def there() -> list[dict[str, Any]]:
        found = await store.recordings()
        return found if len(found) >= count else []

    return await until(there, what="the recordings are listed again")


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_a_lost_catalogue_is_made_again_from_the_objects(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    with bucket(kind, tmp_path / "server") as config:
        before, used = await fill(folder, config)
        assert len(before) == 6
        forget(folder)
        findings = await check(config, folder, deep=False)
        assert len(findings) == 7  # six recordings, a snapshot
        assert all(found.repairable and "lists it again" in found.text for found in findings)
        forget(folder)  # what the check has made
        async with storing(folder, config) as store:
            again = await listed(store, 6)
            assert again == before
            assert [recording["locked"] for recording in again].count(True) == 1

            async def counted() -> bool:
                return bool((await store.http.get("/api/storage")).json()["used_bytes"] == used)

            await until(counted, what="all bytes are counted, those of the snapshot too")
            await store.every_recording_plays()
            # It goes on as if nothing had been: the same segments are known, and old footage can be deleted and pictured.
            await store.keep(*Feed("door", 1).take(10))
            assert await store.recordings() == before
        assert await check(config, folder, deep=True) == []


async def test_an_older_catalogue_that_is_put_back_lists_what_came_later(tmp_path: Path) -> None:
    folder, config = tmp_path / "data", site("door", storage={"file_s": 4})
    feed = Feed()
    async with storing(folder, config) as store:
        await store.keep(*feed.take(8))
    backup = tmp_path / "backup"
    shutil.copytree(folder / "db", backup)
    async with storing(folder, config) as store:
        await store.keep(*feed.take(8))
    async with storing(folder, config) as store:
        before = await store.recordings()
    forget(folder)
    shutil.copytree(backup, folder / "db", dirs_exist_ok=True)
    async with storing(folder, config) as store:
        assert await listed(store, len(before)) == before
    assert await check(config, folder, deep=True) == []


async def test_listed_again_recordings_are_overwritten_oldest_first(tmp_path: Path) -> None:
    """What nobody knows of can never be deleted: the disk would fill up."""
    folder = tmp_path / "data"
    await fill(folder, site("door", "yard", storage={"file_s": 4}))
    forget(folder)
    config = site("door", "yard", storage={"file_s": 4}, recording={"keep_days": 1})
    clock = SetClock()
    async with storing(folder, config, clock) as store:  # by today's clock that footage is old
        await a_day_goes_by(store, clock)

        async def gone() -> bool:
            return [recording["locked"] for recording in await store.recordings()] == [True] and not (
                folder / "recordings-open" / ".unlisted"
            ).exists()

        await until(gone, what="only the locked one is left")
    assert await check(config, folder, deep=True) == []


async def test_a_closed_file_that_was_not_uploaded_is_listed_again(tmp_path: Path) -> None:
    """The object store was away when the catalogue was lost: what waits on this disk says itself what it is."""
    folder = tmp_path / "data"
    objects = folder / "objects"
    config = site("door", storage={"file_s": 4})
    async with storing(folder, config) as store:
        await asyncio.to_thread(shutil.rmtree, objects / "recordings")
        (objects / "recordings").write_text("in the way")
        await store.keep(*Feed().take(10))
        await until(lambda: closed(store, 2), what="two files are closed")
        before = (await store.recordings())[:2]
    (objects / "recordings").unlink()
    forget(folder)
    async with storing(folder, config) as store:
        assert (await listed(store, 2))[:2] == before
        room = (await store.http.get("/api/storage")).json()
        assert room["used_bytes"] == sum(recording["size_bytes"] for recording in await store.recordings())
    assert await check(config, folder, deep=True) == []


async def closed(store: Storing, count: int) -> bool:
    return [recording["open"] for recording in await store.recordings()].count(False) >= count


async def test_strange_objects_are_told_and_left_alone(tmp_path: Path) -> None:
    folder, config = tmp_path / "data", site("door", storage={"file_s": 4})
    async with storing(folder, config) as store:
        await store.keep(*Feed().take(3))
        objects = await store.service.buckets.open("recordings")
        await objects.put_bytes("vedette/door/notes.txt", b"not ours", content_type="text/plain")
        await objects.put_bytes("vedette/door/2025/10/09/08/1.mp4", b"no film", content_type="video/mp4")
    forget(folder)
    async with storing(folder, config) as store:
        assert len(await listed(store, 1)) == 1
    findings = {found.text.split(":")[0]: found.repairable for found in await check(config, folder, deep=False)}
    assert findings == {"vedette/door/notes.txt": False, "vedette/door/2025/10/09/08/1.mp4": True}


async def test_a_recording_whose_upload_was_not_catalogued_is_kept_though_the_store_is_away_at_the_start(tmp_path: Path) -> None:
    config = site("door", storage={"file_s": 4})
    async with storing(tmp_path, config) as store:
        await store.keep(*Feed().take(6))
    before = await asyncio.to_thread(_uploads_uncatalogued, tmp_path)
    objects, away = tmp_path / "objects" / "recordings", tmp_path / "away"
    objects.rename(away)
    objects.write_bytes(b"")  # the store answers nobody
    async with storing(tmp_path, config) as store:
        assert len(await store.recordings()) == before
        put_back(away, objects)

        async def playable() -> bool:
            answers = [await store.http.get(f"/api/recordings/{found['id']}/media") for found in await store.recordings()]
            return [answer.status_code for answer in answers] == [200] * before

        await until(playable, what="every recording is in the object store, by its row too", deadline_s=60)
    assert await store.check() == []


def _uploads_uncatalogued(folder: Path) -> int:
    """As a crash between the put and its row leaves them; how many."""
    with closing(sqlite3.connect(folder / "db" / "catalogue.sqlite")) as database:
        changed = database.execute("UPDATE recordings SET state = 'closed'").rowcount
        database.commit()
        return changed


async def test_what_a_stop_has_no_time_for_is_done_at_the_next_start(tmp_path: Path) -> None:
    nobody_saw: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: nobody_saw.append(context))
    config = site("door", "yard", storage={"file_s": 4})
    async with storing(tmp_path, config, stop_s=0) as store:
        await store.keep(*Feed("door", 1).take(10), *Feed("yard", 2).take(10))
    async with storing(tmp_path, config) as store:
        await until(lambda: closed(store, 6), what="all files are closed")
        assert sum(recording["frames"] for recording in await store.recordings()) == 200
    assert await store.check() == []
    gc.collect()  # a task that failed and that nobody asked says so when it goes
    assert nobody_saw == []
