"""Room: what the policy says is deleted, by the sweep in time, or by a writer that found none."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import structlog

from services.storage import metrics
from services.storage.adapters import disk
from services.storage.adapters.archive import Archive
from services.storage.adapters.candidates import Candidates, Found, Refused
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.kept_clock import KeptClock
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.notices import Notices
from services.storage.adapters.snapshots import Snapshots
from services.storage.core.model import State
from services.storage.core.policy import (
    Limits,
    Space,
    Victim,
    headroom,
    is_low,
    make_room,
    retire,
    shortfall,
    trim,
    with_spool_room,
)
from services.storage.core.recording import CLAIM_WINDOW_NS
from services.storage.core.turns import turns
from shared.domain.errors import CatalogueError, ObjectStoreError, StorageFull
from shared.messages import RecordingChange

log = structlog.get_logger(__name__)

#: Rounds of choosing, each among a window of candidates; they go on until the policy asks for nothing more.
_ROUNDS = 1000
#: Sweeps that fail one after the other before people are told.
_FAILURES = 3


class Cleaner:
    """The only one who deletes. Serialised: the sweep and the writer never choose at the same time."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        archive: Archive,
        snapshots: Snapshots,
        ledger: Ledger,
        notices: Notices,
        limits: Limits,
        kept_clock: KeptClock,
        *,
        objects_on_disk: bool,
    ) -> None:
        """`objects_on_disk`: the object store's space is this disk's."""
        self._layout, self._catalogue, self._archive, self._snapshots = layout, catalogue, archive, snapshots
        self._ledger, self._notices, self._kept_clock = ledger, notices, kept_clock
        self._candidates = Candidates(catalogue, snapshots, ledger, objects_on_disk=objects_on_disk)
        self.limits = limits
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-space")
        self._failures = 0
        self.sweeps = 0  # that have ended

    async def stop(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    async def space(self) -> Space:
        """What is there now. Asked in a thread of its own: a disk that hangs answers even this late.

        Raises:
            DiskError: the data folder cannot be looked at.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, _space, self._layout.open_dir, self._ledger.total_bytes)

    async def has_room(self, need_bytes: int) -> bool:
        """Whether `need_bytes` fit within the limits."""
        return not shortfall(await self.space(), self.limits, need_bytes)

    async def give_room(self, need_bytes: int) -> bool:
        """Whether `need_bytes` fit; the policy makes room for them and for the head room, which ingest's spool lives on meanwhile: it
        stops at the same threshold, and would refuse footage that storage has yet to make room for."""
        space = await self.space()
        wanted = need_bytes + headroom(space, self.limits)
        if not shortfall(space, self.limits, wanted):
            return True
        try:
            await self.make_room(wanted)
        except (ObjectStoreError, CatalogueError):
            if not await self.has_room(need_bytes):
                raise
        return await self.has_room(need_bytes)

    async def make_room(self, need_bytes: int, *, disk_is_full: bool = False) -> bool:
        """Delete as the policy allows until `need_bytes` fit; whether they do.

        Args:
            disk_is_full: the disk has just said so, whatever it says about its free space.

        Raises:
            ObjectStoreError: they do not, and a bucket refused to delete.
            StorageFull: the catalogue has no room to record what is deleted, nor a reserve.
        """
        async with self._lock:
            if disk_is_full:
                await asyncio.to_thread(disk.give_ballast, self._layout.ballast)
            try:
                return await self._make_room(need_bytes, disk_is_full=disk_is_full)
            except StorageFull:  # whoever else took the last of the room
                if not await asyncio.to_thread(disk.give_ballast, self._layout.ballast):
                    raise
            return await self._make_room(need_bytes, disk_is_full=disk_is_full)

    async def _make_room(self, need_bytes: int, *, disk_is_full: bool) -> bool:
        refused = await self._finish_deletes()
        freed = await self._clean(need_bytes, self.limits, refused, disk_is_full=disk_is_full)
        enough = freed > 0 if disk_is_full else await self.has_room(need_bytes)
        if not enough:
            refused.tell()
        return enough

    async def sweep(self) -> None:
        """Finish half deletes, then keep head room, quotas and expiry. Tells when it cannot."""
        try:
            async with self._lock:
                refused = await self._finish_deletes()
                space = await self.space()
                await self._clean(headroom(space, self.limits), with_spool_room(self.limits, space), refused)
            refused.tell()
        except (ObjectStoreError, CatalogueError, StorageFull, disk.DiskError) as error:
            self._failures += 1
            log.warning("old recordings could not be deleted", error=str(error), failures=self._failures)
            if self._failures >= _FAILURES:
                self._notices.set("retention.stalled", f"old recordings cannot be deleted: {error}")
        else:
            self._failures = 0
            self._notices.clear("retention.stalled")
        await self._watch()
        self.sweeps += 1

    async def settle(self) -> None:
        """Finish deletes that were begun.

        Raises:
            ObjectStoreError: a bucket refused.
        """
        async with self._lock:
            refused = await self._finish_deletes()
        refused.tell()

    async def _watch(self) -> None:
        space = await self.space()
        metrics.USED_BYTES.set(space.used_bytes)
        metrics.FREE_BYTES.set(space.free_bytes)
        if is_low(space, self.limits):
            self._notices.set("storage.low", "little room is left, and nothing is overwritten under this policy")
        else:
            self._notices.clear("storage.low")

    async def take_ballast(self) -> None:
        """Lay the reserve by, where that takes none of what is to be left free."""
        space = await self.space()
        if not shortfall(space, self.limits, max(headroom(space, self.limits), disk.BALLAST_BYTES)).disk_bytes:
            await asyncio.to_thread(disk.take_ballast, self._layout.ballast)

    async def _finish_deletes(self) -> Refused:
        return Refused(
            await self._archive.remove(await self._catalogue.in_state(State.DELETING)),
            await self._snapshots.remove(await self._snapshots.oldest(100_000, deleting=True)),
        )

    async def _clean(self, need_bytes: int, limits: Limits, refused: Refused, *, disk_is_full: bool = False) -> int:
        """Bytes freed. Buckets that refuse join `refused`."""
        freed = 0
        for _ in range(_ROUNDS):
            space = await self.space()
            if disk_is_full:  # believe the disk, not its statistics: what has been freed since is all that there is
                space = replace(space, free_bytes=min(space.free_bytes, limits.min_free_bytes + freed))
            clock = await self._kept_clock.look()
            order = turns(clock)
            found = await self._candidates.to_retire(limits, refused, clock, order)
            victims = retire(
                found.items, limits, clock.known_ns(CLAIM_WINDOW_NS), self._ledger.unlocked(), settled_ns=clock.settled_ns, order=order
            )
            if not victims:
                found = await self._candidates.of_full_groups(limits, refused, order)
                victims = trim(found.items, limits, self._ledger.unlocked_in(), order)
            if not victims:
                found = await self._candidates.for_room(shortfall(space, limits, need_bytes), refused, order)
                victims = make_room(found.items, limits, space, need_bytes, order)
            if not victims:
                break
            freed += await self._delete(victims, found, refused)
        return freed

    async def _delete(self, victims: list[Victim], found: Found, refused: Refused) -> int:
        """Row marked, object gone, row gone. Bytes freed. What a bucket refuses stays marked."""
        recordings, pictures = found.recordings, found.pictures
        why = {victim.item.id: victim.why for victim in victims}
        marked = await self._catalogue.mark_deleting([id_ for id_ in why if id_ in recordings])
        keys = [id_ for id_ in why if id_ in pictures]
        if keys:
            await self._snapshots.mark(keys)
        freed = 0
        for id_, reason in why.items():
            if id_ in marked and recordings[id_].bucket not in refused.recordings:
                refused.recordings |= await self._archive.remove([recordings[id_]])
                if recordings[id_].bucket in refused.recordings:
                    continue
                self._notices.recording(recordings[id_], RecordingChange.DELETED, reason.value)
                freed += recordings[id_].size_bytes
            elif id_ in pictures and pictures[id_].bucket not in refused.pictures:
                refused.pictures |= await self._snapshots.remove([pictures[id_]])
                if pictures[id_].bucket in refused.pictures:
                    continue
                freed += pictures[id_].size_bytes
            metrics.DELETED.labels(reason.value).inc()
        return freed


def _space(folder: Path, used_bytes: int) -> Space:
    with disk.errors_mapped(folder):
        return disk.space(folder, used_bytes)
