"""Making this disk and the catalogue agree again at the start, before the first segment is taken (docs: "Recovery")."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from services.storage.adapters import disk
from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.core.footer import TAIL_BYTES, parse_footer
from services.storage.core.model import Recording, State, StoredSegment
from shared.domain.errors import ObjectNotFound, ObjectStoreError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Repair:
    """What was found and done. `lost`: sentences about footage that the disk has lost."""

    cut: int = 0
    closed: int = 0
    removed_files: int = 0
    adopted: int = 0
    set_aside: int = 0
    lost: list[str] = field(default_factory=list)


class Reconciler:
    """Runs once, alone."""

    def __init__(self, layout: Layout, catalogue: Catalogue, buckets: Buckets, archive: Archive) -> None:
        self._layout, self._catalogue, self._buckets, self._archive = layout, catalogue, buckets, archive
        self._away = False

    async def run(self) -> Repair:
        """Repair.

        Raises:
            CatalogueError: the catalogue cannot be read or written.
            OSError: the disk cannot.
        """
        repair = Repair()
        ours = await self._is_ours()
        known: set[Path] = set()
        for recording in await self._catalogue.in_state(State.OPEN, State.CLOSED):
            known.add(self._layout.path(recording))
            await self._local(recording, repair)
        for path in await asyncio.to_thread(self._layout.local_files):
            if path not in known:
                await self._stray(path, ours, repair)
        log.info(
            "catalogue and files agree", cut=repair.cut, removed=repair.removed_files, adopted=repair.adopted, set_aside=repair.set_aside,
            lost=repair.lost,
        )  # fmt: skip
        return repair

    async def _is_ours(self) -> bool:
        """Whether the files here belong to this catalogue; a store without a mark becomes its own."""
        store_id = await self._catalogue.store_id()
        mark = self._layout.store_mark

        def compare() -> bool:
            try:
                same = mark.read_text(encoding="ascii") == store_id
            except FileNotFoundError:
                same = not self._layout.local_files()
            if not same or not mark.exists():
                # In this order: whoever is cut off in between asks again, and the object store is looked through all the same.
                disk.append(self._layout.unlisted, 0, [])
                disk.append(mark, 0, [store_id.encode("ascii")])
            return same

        return await asyncio.to_thread(compare)

    async def _local(self, recording: Recording, repair: Repair) -> None:
        path = self._layout.path(recording)
        size = await asyncio.to_thread(_size, path)
        if size is None:
            await self._without_file(recording, repair)
        elif recording.state is State.OPEN or size != recording.size_bytes:
            await self._open_file(recording, path, size, repair)

    async def _open_file(self, recording: Recording, path: Path, size: int, repair: Repair) -> None:
        """Cut to what is catalogued, or the catalogue to what is whole; then it is closed like any other."""
        segments = await self._catalogue.segments_of(recording.id)
        end = segments[-1].end if segments else 0
        if size < end:
            whole = await asyncio.to_thread(disk.whole_bytes, path)
            kept = [segment for segment in segments if segment.end <= whole]
            repair.lost.append(f"{len(segments) - len(kept)} stored segments of {recording.channel} are missing on the disk")
            if not kept:
                await self._forget(recording, path)
                return
            end = kept[-1].end
            recording = replace(
                recording, end_ns=max(s.end_ns for s in kept), frames=sum(s.frames for s in kept), size_bytes=end, state=State.OPEN
            )
            await self._catalogue.truncated(recording, len(kept))
        elif size > end:
            repair.cut += 1
        if not segments:
            await self._forget(recording, path)
            return
        if recording.state is State.CLOSED:
            await self._catalogue.reopen(recording.id, end)
        self._archive.ended([recording.id])
        repair.closed += 1

    async def _without_file(self, recording: Recording, repair: Repair) -> None:
        """The upload was done and the row not written, or the footage is gone."""
        if self._away:
            return
        try:
            found = await (await self._buckets.of(recording)).stat(recording.object_key)
        except ObjectNotFound:
            found = None
        except ObjectStoreError as error:
            log.warning("a recording is not on this disk, and the object store cannot be asked", recording=recording.id, error=str(error))
            self._away = True  # the others are not asked for: each would wait for an answer
            return
        if found is not None and recording.state is State.CLOSED and found.size_bytes == recording.size_bytes:
            await self._catalogue.uploaded(recording.id)
            return
        repair.lost.append(f"a recording of {recording.channel} has disappeared from the disk")
        await self._catalogue.forget([recording.id])

    async def _forget(self, recording: Recording, path: Path) -> None:
        await self._catalogue.forget([recording.id])
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _stray(self, path: Path, ours: bool, repair: Repair) -> None:
        recording = await self._catalogue.get(path.stem)
        if recording is not None and recording.state is State.DELETING:
            return  # the cleaner's first sweep finishes its delete
        if recording is not None or ours:
            # Uploaded already; or never acknowledged: its segments come again.
            await asyncio.to_thread(path.unlink, missing_ok=True)
            repair.removed_files += 1
        elif await self._listed_again(path):
            repair.adopted += 1
        else:
            await asyncio.to_thread(_set_aside, path, self._layout.lost / path.relative_to(self._layout.open_dir))
            repair.set_aside += 1

    async def _listed_again(self, path: Path) -> bool:
        """Catalogue a closed file of a lost catalogue by its footer; the uploader goes on with it."""

        def read() -> tuple[Recording, list[StoredSegment]] | None:
            found = parse_footer(disk.read_end(path, TAIL_BYTES), path.stat().st_size, State.CLOSED, locked=False)
            return None if found is None else (replace(found[0], sha256=disk.sha256_of(path)), found[1])

        found = await asyncio.to_thread(read)
        if found is None or self._layout.path(found[0]) != path:
            return False
        return bool(await self._catalogue.adopt([found]))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _set_aside(path: Path, target: Path) -> None:
    disk.make_folders(target.parent)
    path.replace(target)
    disk.sync_folder(target.parent)
    disk.sync_folder(path.parent)
