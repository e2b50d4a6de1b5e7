"""The locks of objects follow those of rows. A row's lock is what counts; the object's guards it against everybody else with the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.storage.adapters.archive import Archive
from services.storage.adapters.buckets import Buckets
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.notices import Notices
from services.storage.core.model import Recording
from shared.domain.clock import Clock
from shared.domain.errors import ObjectNotFound, ObjectStoreError
from shared.messages import RecordingChange

log = structlog.get_logger(__name__)

_RETRY_MIN_S, _RETRY_MAX_S = 1.0, 60.0


class Locks:
    """`set`: the object follows at once where that is possible; `loop`, supervised, does what was not: at the start, and when the store
    is back."""

    def __init__(
        self, catalogue: Catalogue, buckets: Buckets, archive: Archive, ledger: Ledger, notices: Notices, clock: Clock, device: str
    ) -> None:
        self._catalogue, self._buckets, self._archive, self._clock = catalogue, buckets, archive, clock
        self._ledger, self._notices = ledger, notices
        self._prefix = f"{device}/"
        self._wake = asyncio.Event()

    async def set(self, recording_id: str, locked: bool) -> Recording | None:
        """Lock or unlock a recording: its row, and its object now or as soon as the store answers.

        Returns:
            The recording; None: there is none.

        Raises:
            CatalogueError: it may be done or not.
        """
        async with self._ledger.changing():
            recording, changed = await self._catalogue.set_locked(recording_id, locked)
            if recording is not None and changed:
                self._ledger.lock(recording, recording.size_bytes, locked=locked)
        if recording is None:
            return None
        if changed:
            self._notices.recording(recording, RecordingChange.LOCKED if locked else RecordingChange.UNLOCKED)
        await self._follow(recording)
        return recording

    async def _follow(self, recording: Recording) -> None:
        try:
            await self._archive.keep_lock(recording)
        except ObjectStoreError as error:
            log.warning("the lock of an object follows when the store takes it", recording=recording.id, error=str(error))
            self._wake.set()

    async def loop(self) -> None:
        """Compare at the start, and after each lock that could not be set."""
        backoff_s = _RETRY_MIN_S
        while True:
            self._wake.clear()
            try:
                changed = await self.compare()
            except ObjectStoreError as error:
                log.warning("the locks of objects could not be compared yet", error=str(error))
                await self._clock.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _RETRY_MAX_S)
                continue
            if changed:
                log.info("locks of objects were made those of their recordings", objects=changed)
            backoff_s = _RETRY_MIN_S
            await self._wake.wait()

    async def compare(self) -> int:
        """How many objects were locked or unlocked.

        Raises:
            ObjectStoreError: not now.
        """
        locked = await self._catalogue.locked()
        wrong: list[Recording] = []
        trouble: ObjectStoreError | None = None
        for name in self._buckets.names:
            try:
                wrong += await self._wrong(name, [row for row in locked if self._buckets.of_recordings(row.bucket) == name])
            except ObjectStoreError as error:
                trouble = trouble or error  # the other buckets must not wait for this one
        for recording in wrong:
            try:
                await self._archive.keep_lock(recording)
            except ObjectNotFound:  # deleted meanwhile, or lost: `vedette check` tells
                log.warning("a recording has no object that could be locked", recording=recording.id)
        if trouble is not None:
            raise trouble
        return len(wrong)

    async def _wrong(self, bucket: str, locked: Sequence[Recording]) -> list[Recording]:
        """Recordings of a bucket whose object is locked otherwise than they are, given the `locked` ones."""
        store = await self._buckets.open(bucket)
        objects = {info.key async for info in store.locked(self._prefix)}
        rows = {recording.object_key: recording for recording in locked}
        others = await self._catalogue.of_keys(sorted(objects - rows.keys()))
        unlocked = [recording for recording in others if self._buckets.of_recordings(recording.bucket) == bucket]
        return [rows[key] for key in rows.keys() - objects] + unlocked
