"""A recording is deleted while it is put into the object store: that is no loss, and its bytes are counted off once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.notices import Notices
from services.storage.adapters.reach import Reach
from services.storage.adapters.writer import Writer
from services.storage.core.model import Recording, State
from shared.bus.embedded import EmbeddedBus
from shared.config.services import DatabaseConfig, LocalObjects, StorageConfig
from shared.db.engine import database_url
from shared.domain.clock import SystemClock
from shared.report import Reporter
from tests.support.segments import Feed
from tests.support.storing import on_bus

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


@dataclass
class Parts:
    """An archive with one closed file that waits."""

    layout: Layout
    catalogue: LooksAway
    buckets: Buckets
    archive: Archive
    notices: Notices
    ledger: Ledger = field(default_factory=Ledger)

    async def recording(self) -> Recording:
        (found,) = await self.catalogue.in_state(State.CLOSED)
        return found

    async def objects(self) -> list[str]:
        return [info.key async for info in (await self.buckets.open("recordings")).list()]


@asynccontextmanager
async def closed_file(folder: Path) -> AsyncIterator[Parts]:
    clock, layout, ledger = SystemClock(), Layout(folder), Ledger()
    catalogue = LooksAway(database_url(DatabaseConfig(), folder, "catalogue"))
    buckets = Buckets(LocalObjects(), folder, StorageConfig())
    async with AsyncExitStack() as owned:
        bus = await owned.enter_async_context(on_bus(EmbeddedBus(clock)))
        owned.push_async_callback(buckets.stop)
        await catalogue.start()
        owned.push_async_callback(catalogue.stop)
        notices = Notices(Reporter(bus.producer, clock, "vedette"), bus.producer, clock)
        writer = Writer(layout, catalogue, ledger, clock, file_s=60, modes={})
        owned.push_async_callback(writer.stop)
        archive = Archive(layout, catalogue, buckets, writer, ledger, notices, Reach(buckets, notices, clock), clock)
        await writer.store(list(Feed().take(3)))
        archive.ended(await writer.end_all())
        await archive.finish_all()
        yield Parts(layout, catalogue, buckets, archive, notices, ledger)


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
