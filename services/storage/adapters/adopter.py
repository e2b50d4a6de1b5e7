"""Objects that no row names, after a catalogue was lost or an older one was put back: they are listed again (docs: "Recovery").

Runs beside recording: a bucket of a month takes its time. Until it is through, the oldest footage may not be known as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.snapshots import Snapshot, Snapshots
from services.storage.core.boxes import Mp4Error
from services.storage.core.footer import TAIL_BYTES, parse_footer
from services.storage.core.model import Recording, State, StoredSegment, snapshot_of_key
from services.storage.core.salvage import is_recording_key, salvage
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import ObjectNotFound, ObjectStoreError
from shared.domain.ids import deterministic_id
from shared.domain.media import StreamKind
from shared.objects.port import ObjectInfo, ObjectStore

log = structlog.get_logger(__name__)

#: Objects that are looked at, and recordings that are catalogued, together.
_PAGE, _BATCH = 500, 32
#: Further back than this from the newest recording of a channel, everything is looked through.
_DAYS = 62

Rows = tuple[Recording, Sequence[StoredSegment]]


@dataclass(slots=True)
class Adopted:
    """What was listed again, and objects that are nothing of ours."""

    recordings: int = 0
    snapshots: int = 0
    strange: int = 0


class Adopter:
    """Looks through all buckets once. May be run again."""

    def __init__(
        self, layout: Layout, catalogue: Catalogue, buckets: Buckets, snapshots: Snapshots, ledger: Ledger, clock: Clock,
        *, device: str, channels: Mapping[str, int],
    ) -> None:  # fmt: skip
        """`channels`: numbers by id."""
        self._layout, self._catalogue, self._buckets, self._snapshots = layout, catalogue, buckets, snapshots
        self._ledger, self._clock, self._device, self._channels = ledger, clock, device, channels

    async def run(self) -> Adopted:
        """Everything where the catalogue is new or another's; else what came after the newest recording that it names.

        Raises:
            ObjectStoreError, CatalogueError: not now; what was listed stays listed.
        """
        adopted = Adopted()
        everything = await asyncio.to_thread(self._layout.unlisted.exists)
        prefixes = [f"{self._device}/"] if everything else await self._lately()
        trouble: ObjectStoreError | None = None
        for bucket in self._buckets.names:
            try:
                await self._bucket(bucket, prefixes, adopted)
            except ObjectStoreError as error:
                trouble = trouble or error  # the other buckets must not wait for this one
        if trouble is not None:
            raise trouble
        if everything:
            await asyncio.to_thread(self._layout.unlisted.unlink, missing_ok=True)
        if adopted.recordings or adopted.snapshots or adopted.strange:
            log.warning("objects that the catalogue did not name", **asdict(adopted))
        return adopted

    async def _bucket(self, bucket: str, prefixes: Sequence[str], adopted: Adopted) -> None:
        store = await self._buckets.open(bucket)
        for prefix in prefixes:
            async for page in _pages(store, prefix):
                recordings = [info for info in page if is_recording_key(info.key)]
                pictures = [(info, named) for info in page if (named := snapshot_of_key(info.key)) is not None]
                adopted.strange += len(page) - len(recordings) - len(pictures)
                await self._recordings(store, bucket, recordings, adopted)
                await self._pictures(bucket, pictures, adopted)

    async def _lately(self) -> list[str]:
        """Prefixes of the days since each channel's newest recording; a channel without any is looked through."""
        today = datetime.fromtimestamp(self._clock.now_ns() // NS_PER_S, UTC).date()
        prefixes = []
        for channel in self._channels:
            newest_ns = await self._catalogue.newest_end_ns(channel, StreamKind.MAIN.value)
            first = None if newest_ns is None else datetime.fromtimestamp(newest_ns // NS_PER_S, UTC).date()
            if first is None or not 0 <= (today - first).days <= _DAYS:
                prefixes.append(f"{self._device}/{channel}/")
            else:
                days = (first + timedelta(days=number) for number in range((today - first).days + 1))
                prefixes += [f"{self._device}/{channel}/{day:%Y/%m/%d}/" for day in days]
        return prefixes

    async def _recordings(self, store: ObjectStore, bucket: str, page: Sequence[ObjectInfo], adopted: Adopted) -> None:
        # Asked after the listing: whatever is being put or deleted has a row for as long as it has an object.
        known = await self._catalogue.taken([info.key for info in page])
        found: list[Rows] = []
        for info in page:
            if info.key not in known:
                rows = await self._rows(store, info, adopted)
                if rows is not None:
                    found.append((replace(rows[0], bucket=self._buckets.row_of_recordings(bucket)), rows[1]))
            if len(found) >= _BATCH:
                await self._list(found, adopted)
                found = []
        await self._list(found, adopted)

    async def _rows(self, store: ObjectStore, info: ObjectInfo, adopted: Adopted) -> Rows | None:
        try:
            tail = await _bytes(store, info.key, max(0, info.size_bytes - TAIL_BYTES))
            found = parse_footer(tail, info.size_bytes, State.UPLOADED, locked=info.locked)
            if found is not None and found[0].object_key == info.key:
                return replace(found[0], sha256=info.sha256), found[1]
            data = await _bytes(store, info.key, 0)
            number = self._channels.get(info.key.split("/")[1], 0)
            salvaged, segments = await asyncio.to_thread(salvage, info.key, data, number, locked=info.locked)
            return replace(salvaged, sha256=info.sha256), segments
        except ObjectNotFound:
            return None  # deleted meanwhile
        except Mp4Error as error:
            log.error("an object looks like a recording and is none", key=info.key, error=error.what)
            adopted.strange += 1
            return None

    async def _list(self, found: Sequence[Rows], adopted: Adopted) -> None:
        if not found:
            return
        listed = await self._adopt(found)
        keys = {recording.object_key for recording in listed}
        # Footage of which a part is stored a second time: its segments cannot have the same ids twice.
        listed += await self._adopt([_renamed(rows) for rows in found if rows[0].object_key not in keys])
        adopted.recordings += len(listed)

    async def _adopt(self, found: Sequence[Rows]) -> list[Recording]:
        async with self._ledger.changing():
            listed = await self._catalogue.adopt(found)
            for recording in listed:
                self._ledger.recording(recording, recording.size_bytes, locked=recording.locked)
        return listed

    async def _pictures(self, bucket: str, page: Sequence[tuple[ObjectInfo, tuple[str, int]]], adopted: Adopted) -> None:
        known = await self._snapshots.known([info.key for info, _ in page])
        row, found = self._buckets.row_of_snapshots(bucket), []
        for info, (channel, at_ns) in page:
            if info.key not in known and await self._snapshots.exists(info.key, row):  # not deleted since it was listed
                found.append(Snapshot(info.key, channel, at_ns, info.size_bytes, row))
        adopted.snapshots += await self._snapshots.adopt(found)


async def _bytes(store: ObjectStore, key: str, start: int) -> bytes:
    return b"".join([chunk async for chunk in store.get(key, start=start)])


async def _pages(store: ObjectStore, prefix: str) -> AsyncIterator[list[ObjectInfo]]:
    page: list[ObjectInfo] = []
    async for info in store.list(prefix):
        page.append(info)
        if len(page) >= _PAGE:
            yield page
            page = []
    if page:
        yield page


def _renamed(rows: Rows) -> Rows:
    recording, segments = rows
    id_ = deterministic_id("recording", "salvaged", recording.object_key)
    return replace(recording, id=id_), list(_segments(id_, recording.object_key, segments))


def _segments(recording_id: str, key: str, segments: Iterable[StoredSegment]) -> Iterable[StoredSegment]:
    for segment in segments:
        yield replace(segment, id=deterministic_id("segment", "salvaged", key, segment.ordinal), recording_id=recording_id)
