"""Making store and catalogue agree again at the start, before the first segment is taken (docs: "Recovery")."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from services.storage.adapters import disk
from services.storage.adapters.archive import Archive
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.core.model import Recording, State
from shared.domain.errors import ObjectNotFound, ObjectStoreUnavailable
from shared.objects.port import ObjectStore

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Repair:
    """What was found and done. `lost`: sentences about footage that the disk has lost."""

    cut: int = 0
    closed: int = 0
    removed_files: int = 0
    set_aside: int = 0
    finished_deletes: int = 0
    lost: list[str] | None = None

    def tell_lost(self, text: str) -> None:
        self.lost = [*(self.lost or []), text]


class Reconciler:
    """Runs once, alone."""

    def __init__(self, layout: Layout, catalogue: Catalogue, store: ObjectStore, archive: Archive) -> None:
        self._layout, self._catalogue, self._store, self._archive = layout, catalogue, store, archive

    async def run(self) -> Repair:
        """Repair.

        Raises:
            CatalogueError: the catalogue cannot be read or written.
        """
        repair = Repair()
        await asyncio.to_thread(self._layout.open_dir.mkdir, parents=True, exist_ok=True)
        ours = await self._is_ours()
        known: set[Path] = set()
        for recording in await self._catalogue.in_state(State.OPEN, State.CLOSED):
            known.add(self._layout.path(recording))
            await self._local(recording, repair)
        for path in await asyncio.to_thread(self._layout.local_files):
            if path not in known:
                await self._stray(path, ours, repair)
        await self._deletes(repair)
        log.info("catalogue and files agree", cut=repair.cut, removed=repair.removed_files, set_aside=repair.set_aside, lost=repair.lost)
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
            repair.tell_lost(f"{len(segments) - len(kept)} stored segments of {recording.channel} are missing on the disk")
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
        try:
            found = await self._store.stat(recording.object_key)
        except ObjectNotFound:
            found = None
        except ObjectStoreUnavailable as error:
            log.warning("a recording is not on this disk, and the object store does not answer", recording=recording.id, error=str(error))
            return
        if found is not None and recording.state is State.CLOSED and found.size_bytes == recording.size_bytes:
            await self._catalogue.uploaded(recording.id)
            return
        repair.tell_lost(f"a recording of {recording.channel} has disappeared from the disk")
        await self._catalogue.forget([recording.id])

    async def _forget(self, recording: Recording, path: Path) -> None:
        await self._catalogue.forget([recording.id])
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _stray(self, path: Path, ours: bool, repair: Repair) -> None:
        recording = await self._catalogue.get(path.stem)
        if recording is not None and recording.state is State.DELETING:
            return  # its delete is finished below
        if recording is not None or ours:
            # Uploaded already; or never acknowledged: its segments come again.
            await asyncio.to_thread(path.unlink, missing_ok=True)
            repair.removed_files += 1
            return
        await asyncio.to_thread(_set_aside, path, self._layout.lost / path.relative_to(self._layout.open_dir))
        repair.set_aside += 1

    async def _deletes(self, repair: Repair) -> None:
        marked = await self._catalogue.in_state(State.DELETING)
        try:
            await self._archive.remove(marked)
            repair.finished_deletes = len(marked)
        except ObjectStoreUnavailable as error:  # the cleaner's sweeps go on with it
            log.warning("half deletes must wait for the object store", error=str(error))


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
