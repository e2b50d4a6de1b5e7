"""Uploads: each bucket by itself. A recording is deleted while it is put into the object store: that is no loss, and its bytes are
counted off once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.modes import ChannelMode
from services.storage.adapters.notices import Notices
from services.storage.adapters.reach import Reach
from services.storage.adapters.writer import Writer
from services.storage.core.model import Recording, State
from shared.bus.embedded import EmbeddedBus
from shared.config.services import DatabaseConfig, LocalObjects, StorageConfig
from shared.db.engine import database_url
from shared.domain.clock import Clock, ManualClock, SystemClock
from shared.objects.port import ObjectStore
from shared.report import Reporter
from tests.support.segments import Feed
from tests.support.storing import on_bus, until

pytestmark = pytest.mark.integration


class LooksAway(Catalogue):
    """Whoever asks for a recording gets its row, and has not looked yet when something happens to it."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get(self, recording_id: str) -> Recording | None:
        found = await super().get(recording_id)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found


class Hangs(Buckets):
    """One of the buckets does not answer."""

    silent: str | None = None

    async def of(self, recording: Recording) -> ObjectStore:
        if recording.bucket == self.silent:
            await asyncio.get_running_loop().create_future()
        return await super().of(recording)


@dataclass
class Parts:
    """An archive, and what it works with."""

    layout: Layout
    catalogue: LooksAway
    buckets: Hangs
    writer: Writer
    archive: Archive
    notices: Notices
    ledger: Ledger = field(default_factory=Ledger)

    async def recording(self) -> Recording:
        (found,) = await self.catalogue.in_state(State.CLOSED)
        return found

    async def close_file(self, feed: Feed) -> None:
        await self.writer.store(list(feed.take(3)))
        self.archive.ended(await self.writer.end_all())
        async with asyncio.timeout(60):
            await self.archive.finish_all()

    def only_waits_for(self, bucket: str) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            return {recording.bucket for recording in await self.catalogue.in_state(State.OPEN, State.CLOSED)} == {bucket}

        return asked

    def all_up(self, clock: ManualClock) -> Callable[[], Awaitable[bool]]:
        async def asked() -> bool:
            clock.advance(60)
            return await self.catalogue.in_state(State.OPEN, State.CLOSED) == []

        return asked

    async def objects(self) -> list[str]:
        return [info.key async for info in (await self.buckets.open("recordings")).list()]


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(loop)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def parts_of(folder: Path, clock: Clock, modes: Mapping[str, ChannelMode]) -> AsyncIterator[Parts]:
    layout, ledger = Layout(folder), Ledger()
    catalogue = LooksAway(database_url(DatabaseConfig(), folder, "catalogue"))
    buckets = Hangs(LocalObjects(), folder, StorageConfig())
    async with AsyncExitStack() as owned:
        bus = await owned.enter_async_context(on_bus(EmbeddedBus(clock)))
        owned.push_async_callback(buckets.stop)
        await catalogue.start()
        owned.push_async_callback(catalogue.stop)
        notices = Notices(Reporter(bus.producer, clock, "vedette"), bus.producer, clock)
        writer = Writer(layout, catalogue, ledger, clock, file_s=60, modes=modes)
        owned.push_async_callback(writer.stop)
        archive = Archive(layout, catalogue, buckets, writer, ledger, notices, Reach(buckets, notices, clock), clock)
        owned.push_async_callback(archive.stop)
        yield Parts(layout, catalogue, buckets, writer, archive, notices, ledger)


@asynccontextmanager
async def closed_file(folder: Path) -> AsyncIterator[Parts]:
    async with parts_of(folder, SystemClock(), {}) as parts:
        await parts.close_file(Feed())
        yield parts


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
async def test_a_bucket_that_cannot_be_used_delays_no_other(tmp_path: Path, trouble: str) -> None:
    """Time stands still: whatever waits for the end of a back-off waits for ever."""
    clock = ManualClock()
    async with parts_of(tmp_path, clock, {"door": ChannelMode(bucket="bad"), "yard": ChannelMode(bucket="good")}) as parts:
        door, yard = Feed("door"), Feed("yard")
        if trouble == "refuses":
            (tmp_path / "objects").mkdir()
            (tmp_path / "objects" / "bad").touch()
        else:
            parts.buckets.silent = "bad"
        async with running(parts.archive.upload_loop()):
            for _ in range(3):
                await parts.close_file(door)
                await parts.close_file(yard)
                await until(parts.only_waits_for("bad"), "the files of the good bucket are there", deadline_s=60)
            if trouble == "refuses":
                (tmp_path / "objects" / "bad").unlink()
                await until(parts.all_up(clock), "those of the other follow", deadline_s=60)
                assert parts.notices.open() == []


async def test_what_is_deleted_meanwhile_has_not_disappeared(tmp_path: Path) -> None:
    async with closed_file(tmp_path) as parts:
        recording = await parts.recording()
        assert parts.ledger.total_bytes == recording.size_bytes

        async def deleted() -> None:
            assert await parts.catalogue.mark_deleting([recording.id])
            await parts.archive.remove([recording])

        parts.catalogue.meanwhile = deleted
        await parts.archive.upload_all()
        assert parts.notices.open() == []
        assert parts.ledger.total_bytes == 0
        assert await parts.objects() == []


async def test_what_is_about_to_be_deleted_is_left_to_who_deletes_it(tmp_path: Path) -> None:
    async with closed_file(tmp_path) as parts:
        recording = await parts.recording()

        async def begun() -> None:
            assert await parts.catalogue.mark_deleting([recording.id])
            parts.layout.path(recording).unlink()

        parts.catalogue.meanwhile = begun
        await parts.archive.upload_all()
        assert parts.ledger.total_bytes == recording.size_bytes
        await parts.archive.remove(await parts.catalogue.in_state(State.DELETING))
        assert (parts.ledger.total_bytes, parts.notices.open()) == (0, [])


async def test_what_the_disk_has_lost_is_told_and_counted_off(tmp_path: Path) -> None:
    async with closed_file(tmp_path) as parts:
        recording = await parts.recording()
        parts.layout.path(recording).unlink()
        await parts.archive.upload_all()
        assert parts.notices.open() == ["storage.error"]
        assert parts.ledger.total_bytes == 0
        assert await parts.catalogue.get(recording.id) is None
