"""Checking a store that does not run: `vedette check`. Rows and recordings stay as they are (an old schema is brought up to date)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from services.storage.adapters import disk
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.snapshots import Snapshots
from services.storage.app import DATABASE
from services.storage.core.boxes import Mp4Error
from services.storage.core.invariants import Invariant, Problem, check_bytes, check_keys, check_rows
from services.storage.core.model import Recording, State, StoredSegment
from shared.config.services import LocalObjects
from shared.config.site import SiteConfig
from shared.db.engine import database_url
from shared.domain.errors import ObjectNotFound
from shared.objects.open import object_store
from shared.objects.port import ObjectInfo, ObjectStore


async def check(site: SiteConfig, data_dir: Path, *, deep: bool) -> list[str]:
    """What is wrong, a sentence each; see `problems`."""
    return [str(problem) for problem in await problems(site, data_dir, deep=deep)]


async def problems(site: SiteConfig, data_dir: Path, *, deep: bool) -> list[Problem]:
    """The invariants that do not hold.

    Args:
        deep: read every byte: digests, fragments and frame counts too.

    Raises:
        CatalogueError, ObjectStoreError: the store cannot be read at all.
    """
    if site.database.url is None and not (data_dir / "db" / f"{DATABASE}.sqlite").exists():
        return []  # nothing was ever stored here
    catalogue = Catalogue(database_url(site.database, data_dir, DATABASE))
    store = object_store(site.objects, data_dir, site.storage.bucket)
    pictures = object_store(site.objects, data_dir, site.storage.snapshots_bucket)
    if isinstance(site.objects, LocalObjects) and not (site.objects.root or data_dir / "objects").exists():
        return [Problem(Invariant.S2, "objects", "the folder of the object store is missing")]
    try:
        await catalogue.start()
        await store.start()
        await pictures.start()
        checker = _Checker(site, Layout(data_dir), catalogue, store, deep)
        found = [problem async for problem in checker.recordings()]
        return found + [problem async for problem in checker.snapshots(pictures)]
    finally:
        await store.stop()
        await pictures.stop()
        await catalogue.stop()


class _Checker:
    def __init__(self, site: SiteConfig, layout: Layout, catalogue: Catalogue, store: ObjectStore, deep: bool) -> None:
        self._device, self._layout, self._catalogue, self._store, self._deep = site.device.id, layout, catalogue, store, deep

    async def recordings(self) -> AsyncIterator[Problem]:
        recordings = await self._catalogue.in_state(*State)
        for problem in check_keys(recordings):
            yield problem
        objects = {info.key: info async for info in self._store.list(f"{self._device}/")}
        for recording in recordings:
            segments = await self._catalogue.segments_of(recording.id)
            for problem in check_rows(recording, segments):
                yield problem
            async for problem in self._bytes(recording, segments, objects):
                yield problem
        keys = {recording.object_key for recording in recordings}
        for key in objects.keys() - keys:
            yield Problem(Invariant.S3, key, "an object that no recording has")
        known = {self._layout.path(recording) for recording in recordings if recording.state is not State.UPLOADED}
        for path in await asyncio.to_thread(self._layout.local_files):
            if path not in known:
                yield Problem(Invariant.S3, path.name, "a local file that no recording has")

    async def _bytes(self, recording: Recording, segments: list[StoredSegment], objects: dict[str, ObjectInfo]) -> AsyncIterator[Problem]:
        """S1, S2 and, when deep, S6."""
        if recording.state is State.DELETING:
            return
        if recording.state is State.UPLOADED:
            info = objects.get(recording.object_key)
            if info is None or info.size_bytes != recording.size_bytes:
                has = "no object" if info is None else f"an object of {info.size_bytes} bytes"
                yield Problem(Invariant.S2, recording.id, f"it has {has} at {recording.object_key}, not {recording.size_bytes} bytes")
                return
        else:
            path = self._layout.path(recording)
            size = await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else -1)
            if size < recording.size_bytes or (recording.state is State.CLOSED and size != recording.size_bytes):
                yield Problem(Invariant.S1, recording.id, f"its file has {size} bytes, catalogued are {recording.size_bytes}")
                return
        if self._deep:
            for problem in await self._content(recording, segments):
                yield problem

    async def _content(self, recording: Recording, segments: list[StoredSegment]) -> list[Problem]:
        if recording.state is State.UPLOADED:
            try:
                data = b"".join([chunk async for chunk in self._store.get(recording.object_key)])
            except ObjectNotFound:
                return [Problem(Invariant.S2, recording.id, "its object has disappeared")]
        else:
            data = await asyncio.to_thread(disk.read, self._layout.path(recording), 0, recording.size_bytes)
        return await asyncio.to_thread(_content_problems, recording, segments, data)

    async def snapshots(self, store: ObjectStore) -> AsyncIterator[Problem]:
        table = Snapshots(self._catalogue, store, Ledger())
        rows = {found.object_key: found for found in await table.oldest(10_000_000)}
        objects = {info.key: info async for info in store.list(f"{self._device}/")}
        for key, row in rows.items():
            if key not in objects or objects[key].size_bytes != row.size_bytes:
                yield Problem(Invariant.S2, key, "the snapshot's object is missing or of another size")
        marked = {found.object_key for found in await table.oldest(10_000_000, deleting=True)}
        for key in marked:
            yield Problem(Invariant.S8, key, "the snapshot is half deleted")
        for key in objects.keys() - rows.keys() - marked:
            yield Problem(Invariant.S3, key, "a snapshot that the catalogue does not know")


def _content_problems(recording: Recording, segments: list[StoredSegment], data: bytes) -> list[Problem]:
    found = []
    if recording.sha256 and hashlib.sha256(data).hexdigest() != recording.sha256:
        found.append(Problem(Invariant.S2, recording.id, "its bytes differ from the catalogued sha256"))
    try:
        found += check_bytes(recording, segments, data)
    except Mp4Error as error:
        found.append(Problem(Invariant.S6, recording.id, error.what))
    return found
