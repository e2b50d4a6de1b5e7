"""The catalogue keeps its promises on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection

from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue, Kept
from services.storage.adapters.database import MIGRATIONS
from services.storage.adapters.ledger import Ledger, Share, Usage
from services.storage.adapters.snapshots import Snapshot, Snapshots
from services.storage.core.model import Kind, Recording, State, StoredSegment, object_key
from services.storage.core.policy import ChannelLimits
from shared.config.services import DatabaseConfig, LocalObjects, StorageConfig
from shared.db.engine import database_url
from shared.domain.clock import NS_PER_S
from shared.domain.errors import CatalogueError
from tests.support.segments import START_NS, Feed
from tests.support.storing import site, storing, until

pytestmark = pytest.mark.integration

DATABASES = ["sqlite", "postgresql"]


async def database(kind: str, request: pytest.FixtureRequest) -> DatabaseConfig:
    if kind == "sqlite":
        return DatabaseConfig()
    return DatabaseConfig(url=SecretStr(await asyncio.to_thread(request.getfixturevalue("postgres").database)))


@pytest.fixture(params=DATABASES)
async def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalogue]:
    catalogue = Catalogue(database_url(await database(request.param, request), tmp_path, "catalogue"))
    await catalogue.start()
    yield catalogue
    await catalogue.stop()


def recording(number: int, channel: str = "door", *, state: State = State.OPEN, kind: Kind = Kind.GENERAL) -> Recording:
    """The `number`th minute of a channel."""
    start_ns = START_NS + number * 60 * NS_PER_S
    return Recording(
        id=f"{channel}-{number}", device="vedette", channel=channel, channel_number=1, stream="main", start_ns=start_ns,
        end_ns=start_ns + 60 * NS_PER_S, size_bytes=1000, frames=600, codec="h264", width=192, height=108, audio_codec="", parameters="p1",
        kind=kind, state=state, locked=False, object_key=object_key("vedette", channel, "main", start_ns), header_bytes=100,
    )  # fmt: skip


def parts(of: Recording, count: int = 3) -> list[StoredSegment]:
    return [
        StoredSegment(
            id=f"{of.id}/{n}", recording_id=of.id, ordinal=n, offset=100 + n * 300, size_bytes=300,
            start_ns=of.start_ns + n * 20 * NS_PER_S, end_ns=of.start_ns + (n + 1) * 20 * NS_PER_S, frames=200,
            key_frames=1, base_ticks=n, duration_ticks=1, session="s", sequence=n,
        )
        for n in range(count)
    ]  # fmt: skip


async def keep(catalogue: Catalogue, *new: Recording) -> None:
    await catalogue.commit(new, [one.id for one in new], [part for one in new for part in parts(one)])


async def finish(catalogue: Catalogue, *ids: str) -> None:
    for id_ in ids:
        await catalogue.close(id_, 1200, "d" * 64)


def ids(found: Sequence[Recording]) -> list[str]:
    return [one.id for one in found]


async def test_a_group_is_catalogued_wholly_or_not_at_all(catalogue: Catalogue) -> None:
    one, two = recording(0), recording(1)
    await keep(catalogue, one)
    with pytest.raises(CatalogueError):  # of the second, one segment is here already
        await catalogue.commit([two], [two.id], [*parts(two), replace(parts(one)[0], recording_id=two.id, ordinal=9)])
    assert await catalogue.get(two.id) is None
    assert await catalogue.segments_of(two.id) == []
    grown = replace(one, end_ns=one.end_ns + 1, size_bytes=1300, frames=800)
    await catalogue.commit([grown], [], [replace(parts(one, 4)[3])])
    assert await catalogue.get(one.id) == grown
    assert await catalogue.segments_of(one.id) == parts(one, 4)
    known, spans = await catalogue.survey([part.id for part in (*parts(one), *parts(two))] * 300, ["door"], 0, 2**62)
    assert (known, spans) == ({part.id for part in parts(one)}, {})
    assert await catalogue.taken([one.object_key, two.object_key]) == {one.object_key}


async def test_a_recording_goes_through_its_states_once(catalogue: Catalogue) -> None:
    one = recording(0)
    await keep(catalogue, one)
    assert not await catalogue.uploaded(one.id)  # it is still open
    await finish(catalogue, one.id)
    assert await catalogue.uploaded(one.id)
    assert not await catalogue.uploaded(one.id)
    assert (await catalogue.set_locked(one.id, True))[1]
    assert not (await catalogue.set_locked(one.id, True))[1]
    assert await catalogue.mark_deleting([one.id, "none"]) == set()  # locked
    await catalogue.set_locked(one.id, False)
    assert await catalogue.mark_deleting([one.id, "none"]) == {one.id}
    assert await catalogue.set_locked(one.id, True) == (None, False)
    assert await catalogue.between(None, 0, 2**62, 10) == []
    await catalogue.forget([one.id])
    assert (await catalogue.get(one.id), await catalogue.segments_of(one.id)) == (None, [])


async def test_what_changes_is_told_as_the_change_found_it(catalogue: Catalogue) -> None:
    """Whoever counts it must not ask again: another may have locked or unlocked it since."""
    one, two = recording(0), recording(1)
    await keep(catalogue, one, two)
    locked, changed = await catalogue.set_locked(one.id, True)
    assert (locked, changed) == (replace(one, locked=True), True)
    grown = [replace(one, size_bytes=1300), replace(two, size_bytes=1300)]
    kept = await catalogue.commit(grown, [], [replace(parts(of)[0], id=f"{of.id}/more", ordinal=3) for of in grown])
    assert kept == {one.id: Kept(Kind.GENERAL, locked=True), two.id: Kept(Kind.GENERAL, locked=False)}
    closed = await catalogue.close(one.id, 1400, "d" * 64)
    assert closed == replace(one, size_bytes=1400, sha256="d" * 64, locked=True, state=State.CLOSED)
    assert await catalogue.close(one.id, 1400, "d" * 64) is None
    assert await catalogue.lost(one.id) == closed
    assert await catalogue.lost(one.id) is None
    assert await catalogue.segments_of(one.id) == []


async def test_what_is_asked_for_is_found_in_order(catalogue: Catalogue) -> None:
    every = [recording(n, channel) for n in range(4) for channel in ("door", "yard")]
    await keep(catalogue, *every)
    await finish(catalogue, *(one.id for one in every if not one.id.endswith("3")))
    from_ns, to_ns = every[2].start_ns, every[4].end_ns
    assert ids(await catalogue.between("door", from_ns, to_ns, 10)) == ["door-1", "door-2"]
    assert ids(await catalogue.between(None, from_ns, to_ns, 3)) == ["door-1", "yard-1", "door-2"]
    footage, spans = await catalogue.for_people().footage("yard", from_ns, to_ns)
    assert (footage, spans) == ([(one.start_ns, one.end_ns) for one in every if one.id in ("yard-1", "yard-2")], [])
    assert ids(await catalogue.oldest(limit=3)) == ["door-0", "yard-0", "door-1"]
    assert ids(await catalogue.oldest(channel="yard", limit=2)) == ["yard-0", "yard-1"]
    outdated = await catalogue.outdated(provisional_before_ns=0, channel_before_ns={"door": every[3].end_ns + 1}, limit=10)
    assert ids(outdated) == ["door-0", "door-1"]
    assert ids(await catalogue.in_state(State.OPEN)) == ["door-3", "yard-3"]
    assert await catalogue.newest_end_ns("door", "main") == every[-1].end_ns
    await catalogue.set_locked("door-0", True)
    usage = await catalogue.usage()
    assert usage[Share("", "door")] == Usage(unlocked_bytes=2 * 1200 + 1000, locked_bytes=1200)


async def test_what_no_row_names_is_adopted_once(catalogue: Catalogue) -> None:
    one, two = recording(0, state=State.UPLOADED), recording(1, state=State.UPLOADED)
    await keep(catalogue, recording(0))
    listed = await catalogue.adopt([(one, parts(one)), (two, parts(two))])
    assert ids(listed) == [two.id]
    assert await catalogue.adopt([(two, parts(two))]) == []
    assert await catalogue.segments_of(two.id) == parts(two)


async def test_limits_of_channels_are_remembered(catalogue: Catalogue) -> None:
    door, yard = ChannelLimits(1, None), ChannelLimits(None, 2**40)
    assert await catalogue.remember_limits({"door": door, "yard": yard}) == {"door": door, "yard": yard}
    assert await catalogue.remember_limits({"yard": ChannelLimits()}) == {"door": door, "yard": ChannelLimits()}
    assert await catalogue.remember_limits({}) == {"door": door, "yard": ChannelLimits()}


async def test_snapshots_are_kept_replaced_and_deleted(catalogue: Catalogue, tmp_path: Path) -> None:
    ledger = Ledger()
    buckets = Buckets(LocalObjects(), tmp_path, StorageConfig())
    pictures = Snapshots(catalogue, buckets, ledger)
    one = Snapshot("vedette/door/2025/10/09/a.jpg", "door", START_NS, 3)
    await pictures.add(one, b"123")
    await pictures.add(replace(one, size_bytes=5), b"12345")
    assert await pictures.oldest(10) == [replace(one, size_bytes=5)]
    assert ledger.total_bytes == 5
    assert await pictures.adopt([one, replace(one, object_key="vedette/yard/2025/10/09/b.jpg", channel="yard")]) == 1
    assert [found.channel for found in await pictures.oldest(10, channel="yard")] == ["yard"]
    await pictures.mark([one.object_key])
    await pictures.remove(await pictures.oldest(10, deleting=True))
    assert not await pictures.exists(one.object_key, "")
    assert (await catalogue.usage())[Share("", "yard")].snapshot_bytes == 3
    await buckets.stop()


async def test_a_snapshot_is_replaced_where_it_lies(catalogue: Catalogue, tmp_path: Path) -> None:
    """Though its channel has another storage group by now."""
    ledger, buckets = Ledger(), Buckets(LocalObjects(), tmp_path, StorageConfig())
    pictures = Snapshots(catalogue, buckets, ledger)
    one = Snapshot("vedette/door/2025/10/09/a.jpg", "door", START_NS, 3, "archive")
    await pictures.add(one, b"123")
    await pictures.add(replace(one, size_bytes=5, bucket=""), b"12345")
    assert await pictures.oldest(10) == await pictures.oldest(10, bucket="archive") == [replace(one, size_bytes=5)]
    assert await pictures.exists(one.object_key, "archive")
    assert not await pictures.exists(one.object_key, "")
    assert {bucket: usage.total_bytes for bucket, usage in ledger.by_bucket().items()} == {"archive": 5}
    await buckets.stop()


async def test_rows_of_before_lie_where_everything_did(catalogue: Catalogue) -> None:
    """Rows that were written before they said in which bucket they lie keep their segments, and get the default."""
    old = recording(0)
    await keep(catalogue, replace(old, bucket="archive"))
    async with catalogue.writing() as connection:
        await connection.run_sync(_to_revision, "0002")
    await catalogue.start()
    assert await catalogue.get(old.id) == old
    assert await catalogue.segments_of(old.id) == parts(old)
    assert await catalogue.oldest(limit=1, state=State.OPEN, bucket="") == [old]


def _to_revision(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, version_table="alembic_version_storage")
    command.downgrade(config, revision)


async def test_what_people_ask_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    """Were they to queue together, the writer's transaction would never end: the questions before it end after it."""
    catalogue = Catalogue(database_url(DatabaseConfig(), tmp_path, "catalogue"))
    await catalogue.start()
    await keep(catalogue, *(recording(n) for n in range(3)))
    asked, written = threading.Event(), threading.Event()

    class Long(str):
        """A channel that takes the database as long as the writer is at work."""

        def __conform__(self, _protocol: object) -> str:
            asked.set()
            assert written.wait(60)
            return str(self)

    people = catalogue.for_people()
    questions = [asyncio.ensure_future(people.between(Long("door"), 0, 2**62, 10)) for _ in range(12)]
    await until(asked.is_set, "the first question is being answered")
    await keep(catalogue, recording(0, "yard"))
    written.set()
    assert [ids(found) for found in await asyncio.gather(*questions)] == [["door-0", "door-1", "door-2"]] * 12
    await catalogue.stop()


@pytest.mark.parametrize("kind", DATABASES)
async def test_the_service_runs_on_it(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    config = site("door", "yard", storage={"file_s": 4}).model_copy(update={"database": await database(kind, request)})
    feeds = Feed("door", 1), Feed("yard", 2, audio=True)
    for _ in range(2):
        async with storing(tmp_path, config) as store:
            await store.keep(*(message for feed in feeds for message in feed.take(6)))
            assert store.service.health().ok
    async with storing(tmp_path, config) as store:
        found = await store.recordings()
        assert sum(one["frames"] for one in found) == 240
        assert (await store.http.put(f"/api/recordings/{found[0]['id']}/lock")).json()["locked"]
    assert await store.check() == []
