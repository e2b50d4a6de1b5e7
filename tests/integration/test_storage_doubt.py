"""A commit whose answer got lost: the group is in the catalogue, and the writer was told that it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import pytest

from services.storage.adapters.catalogue import Catalogue, Kept
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.writer import Writer
from services.storage.core.model import Recording, StoredSegment
from shared.config.services import DatabaseConfig
from shared.db.engine import database_url
from shared.domain.clock import SystemClock
from shared.domain.errors import CatalogueUnavailable
from tests.support.segments import Feed

pytestmark = pytest.mark.integration


class BreaksOff(Catalogue):
    """The connection is lost with the answer of a commit, or before the commit."""

    lose: str = ""

    async def commit(self, changed: Sequence[Recording], new: Iterable[str], added: Sequence[StoredSegment]) -> dict[str, Kept]:
        lost, self.lose = self.lose, ""
        if lost == "the commit":
            raise CatalogueUnavailable("connection was closed in the middle of operation")
        kinds = await super().commit(changed, new, added)
        if lost == "its answer":
            raise CatalogueUnavailable("connection was closed in the middle of operation")
        return kinds


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[BreaksOff]:
    catalogue = BreaksOff(database_url(DatabaseConfig(), tmp_path, "catalogue"))
    await catalogue.start()
    yield catalogue
    await catalogue.stop()


@pytest.mark.parametrize("lost", ["the commit", "its answer"])
@pytest.mark.parametrize("file_s", [2.0, 60.0])  # files end within the group, or not
async def test_every_segment_is_stored_once_and_whole(tmp_path: Path, catalogue: BreaksOff, lost: str, file_s: float) -> None:
    layout, feed = Layout(tmp_path), Feed()
    writer = Writer(layout, catalogue, Ledger(), SystemClock(), file_s=file_s, modes={})
    ended: list[str] = []
    for _ in range(3):
        ended += (await writer.store(list(feed.take(3)))).ended
        group = list(feed.take(5))
        catalogue.lose = lost
        with pytest.raises(CatalogueUnavailable):
            await writer.store(group)
        ended += (await writer.store(group)).ended
    ended += await writer.end_all()
    assert sorted(ended) == sorted(path.stem for path in layout.local_files())  # none is forgotten, none is left over
    frames = 0
    for id_ in ended:
        recording = await catalogue.get(id_)
        assert recording is not None
        segments = await catalogue.segments_of(id_)
        finished = await writer.finish(recording, segments)
        assert finished.size_bytes == layout.path(recording).stat().st_size
        assert [segment.offset for segment in segments] == [recording.header_bytes, *(segment.end for segment in segments[:-1])]
        frames += recording.frames
    assert frames == 10 * len(feed.made)
    await writer.stop()
