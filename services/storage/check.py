"""Checking a store that does not run: `vedette check`. Rows and recordings stay as they are (an old schema is brought up to date)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from services.storage.adapters import disk
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.snapshots import Snapshots
from services.storage.app import DATABASE
from services.storage.core.boxes import Mp4Error
from services.storage.core.invariants import Invariant, Problem, check_bytes, check_keys, check_rows
from services.storage.core.model import Recording, State, StoredSegment, snapshot_of_key
from services.storage.core.salvage import is_recording_key
from shared.config.services import LocalObjects
from shared.config.site import SiteConfig
from shared.db.engine import database_url
from shared.domain.clock import NS_PER_S
from shared.domain.errors import ObjectCorrupt, ObjectNotFound
from shared.objects.port import ObjectInfo


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in words for people. `repairable`: nothing is lost, and the next start repairs it."""

    text: str
    repairable: bool


async def check(site: SiteConfig, data_dir: Path, *, deep: bool) -> list[Finding]:
    """What is wrong, a sentence each; see `problems`."""
    found = await problems(site, data_dir, deep=deep)
    return [Finding(f"{problem.where}: {problem.what} ({problem.invariant.name})", problem.repairable) for problem in found]


async def problems(site: SiteConfig, data_dir: Path, *, deep: bool) -> list[Problem]:
    """The invariants that do not hold.

    Args:
        deep: read every byte: digests, fragments and frame counts too.

    Raises:
        CatalogueError, ObjectStoreError: the store cannot be read at all.
    """
    layout = Layout(data_dir)
    if site.database.url is None and not (data_dir / "db" / f"{DATABASE}.sqlite").exists() and not layout.open_dir.exists():
        return []  # nothing was ever stored here
    catalogue = Catalogue(database_url(site.database, data_dir, DATABASE))
    buckets = Buckets(site.objects, data_dir, site.storage)
    try:
        await catalogue.start()
        if isinstance(site.objects, LocalObjects) and not (site.objects.root or data_dir / "objects").exists():
            stored = await catalogue.in_state(State.UPLOADED, limit=1)
            return [Problem(Invariant.S2, "objects", "the folder of the object store is missing")] if stored else []
        buckets.know_rows(share.bucket for share in await catalogue.usage())
        checker = _Checker(site, layout, catalogue, buckets, deep)
        await checker.look()
        found = [problem async for problem in checker.recordings()]
        found += [problem async for problem in checker.snapshots()]
        found += checker.strays()
        if checker.unlisted:
            await asyncio.to_thread(disk.append, layout.unlisted, 0, [])  # the next start looks through the whole object store
        return found
    finally:
        await buckets.stop()
        await catalogue.stop()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an object lies."""

    bucket: str
    key: str


class _Checker:
    def __init__(self, site: SiteConfig, layout: Layout, catalogue: Catalogue, buckets: Buckets, deep: bool) -> None:
        self._site = site
        self.unlisted = 0  # objects that the next start lists again
        self._device, self._layout, self._catalogue, self._buckets, self._deep = site.device.id, layout, catalogue, buckets, deep
        self._objects: dict[_Place, ObjectInfo] = {}
        self._named_keys: dict[str, str] = {}  # of rows: the bucket that each key is in

    async def look(self) -> None:
        """List what the buckets hold."""
        for bucket in self._buckets.names:
            async for info in (await self._buckets.open(bucket)).list(f"{self._device}/"):
                self._objects[_Place(bucket, info.key)] = info

    def _object(self, recording: Recording) -> ObjectInfo | None:
        return self._objects.get(_Place(self._buckets.of_recordings(recording.bucket), recording.object_key))

    async def recordings(self) -> AsyncIterator[Problem]:
        recordings = await self._catalogue.in_state(*State)
        self._named_keys |= {recording.object_key: self._buckets.of_recordings(recording.bucket) for recording in recordings}
        for problem in check_keys(recordings):
            yield problem
        for recording in recordings:
            segments = await self._catalogue.segments_of(recording.id)
            for problem in check_rows(recording, segments):
                yield self._named(problem, recording)
            async for problem in self._bytes(recording, segments):
                yield self._named(problem, recording)
        async for problem in self._stray_files(recordings):
            yield problem

    async def _stray_files(self, recordings: list[Recording]) -> AsyncIterator[Problem]:
        """S3 of local files. Those of this catalogue are leftovers of a recorder that was cut off; others nobody knows."""
        known = {self._layout.path(recording) for recording in recordings if recording.state is not State.UPLOADED}
        strays = [path for path in await asyncio.to_thread(self._layout.local_files) if path not in known]
        ours = bool(strays) and await asyncio.to_thread(_text, self._layout.store_mark) == await self._catalogue.store_id()
        for path in strays:
            where = str(path.relative_to(self._layout.data_dir))
            yield Problem(
                Invariant.S3,
                where,
                "a leftover file: its footage is stored, or comes again"
                if ours
                else "a file that no recording has; the next start lists it again, or sets it aside in lost+found",
                ours,
            )

    def _named(self, problem: Problem, recording: Recording) -> Problem:
        """With the channel and the time of the recording, in the site's time zone; its id where somebody has to look into it."""
        channel = self._site.channel(recording.channel)
        begin, end = (datetime.fromtimestamp(ns / NS_PER_S, self._site.site.zone) for ns in (recording.start_ns, recording.end_ns))
        name = f"{channel.title if channel else recording.channel}, {begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}"
        return replace(problem, where=name if problem.repairable else f"{name}, recording {recording.id}")

    async def _bytes(self, recording: Recording, segments: list[StoredSegment]) -> AsyncIterator[Problem]:
        """S1, S2, S10 and, when deep, S6."""
        if recording.state is State.DELETING:
            return
        if recording.state is State.UPLOADED:
            info = self._object(recording)
            if info is None or info.size_bytes != recording.size_bytes:
                has = "no object" if info is None else f"an object of {info.size_bytes} bytes"
                yield Problem(Invariant.S2, recording.id, f"it has {has} at {recording.object_key}, not {recording.size_bytes} bytes")
                return
            if info.locked != recording.locked:
                what = f"it is {_locked(recording.locked)}, its object is {_locked(info.locked)}"
                yield Problem(Invariant.S10, recording.id, f"{what}; the next start makes that the same", True)
        else:
            path = self._layout.path(recording)
            size = await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else -1)
            closed = recording.state is State.CLOSED
            if size < 0:
                info = self._object(recording)
                if closed and info is not None and info.size_bytes == recording.size_bytes:
                    yield Problem(Invariant.S1, recording.id, "the recorder was cut off just after it moved this file to its place", True)
                else:
                    yield Problem(Invariant.S1, recording.id, "its file is missing")
                return
            if size < recording.size_bytes:
                yield Problem(Invariant.S1, recording.id, f"its file has {size} bytes, catalogued are {recording.size_bytes}")
                return
            if closed and size > recording.size_bytes:
                what = f"its file has {size} bytes, {size - recording.size_bytes} more than are catalogued; the rest is cut off"
                yield Problem(Invariant.S1, recording.id, what, repairable=True)
        if self._deep:
            for problem in await self._content(recording, segments):
                yield problem

    async def _content(self, recording: Recording, segments: list[StoredSegment]) -> list[Problem]:
        if recording.state is State.UPLOADED:
            store = await self._buckets.of(recording)
            try:
                data = b"".join([chunk async for chunk in store.get(recording.object_key)])
            except ObjectNotFound:
                return [Problem(Invariant.S2, recording.id, "its object has disappeared")]
            except ObjectCorrupt as error:
                return [Problem(Invariant.S2, recording.id, f"its object is damaged: {error.what}")]
        else:
            data = await asyncio.to_thread(disk.read, self._layout.path(recording), 0, recording.size_bytes)
        return await asyncio.to_thread(_content_problems, recording, segments, data)

    async def snapshots(self) -> AsyncIterator[Problem]:
        """S2 and S8 of snapshots."""
        table = Snapshots(self._catalogue, self._buckets, Ledger())
        for row in await table.oldest(10_000_000):
            bucket = self._named_keys[row.object_key] = self._buckets.of_snapshots(row.bucket)
            info = self._objects.get(_Place(bucket, row.object_key))
            if info is None or info.size_bytes != row.size_bytes:
                yield Problem(Invariant.S2, row.object_key, "the snapshot's object is missing or of another size")
        for row in await table.oldest(10_000_000, deleting=True):
            self._named_keys[row.object_key] = self._buckets.of_snapshots(row.bucket)
            yield Problem(Invariant.S8, row.object_key, "the recorder was cut off while it deleted this snapshot", repairable=True)

    def strays(self) -> list[Problem]:
        """S3 of objects, when the rows have been asked for."""
        found = []
        for place in self._objects:
            named = self._named_keys.get(place.key)
            if named is None:
                ours = is_recording_key(place.key) or snapshot_of_key(place.key) is not None
                self.unlisted += ours
                what = "the catalogue does not name it; the next start lists it again" if ours else "an object that is nothing of Vedette's"
                found.append(Problem(Invariant.S3, place.key, what, repairable=ours))
            elif named != place.bucket:
                found.append(Problem(Invariant.S3, place.key, f"it lies in bucket {place.bucket} and, by the catalogue, in {named}"))
        return found


def _locked(locked: bool) -> str:
    return "locked" if locked else "not locked"


def _text(path: Path) -> str:
    """The text of a small file; empty when there is none."""
    try:
        return path.read_text(encoding="ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _content_problems(recording: Recording, segments: list[StoredSegment], data: bytes) -> list[Problem]:
    found = []
    if recording.sha256 and hashlib.sha256(data).hexdigest() != recording.sha256:
        found.append(Problem(Invariant.S2, recording.id, "its bytes differ from the catalogued sha256"))
    try:
        found += check_bytes(recording, segments, data)
    except Mp4Error as error:
        found.append(Problem(Invariant.S6, recording.id, error.what))
    return found
