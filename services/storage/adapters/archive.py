"""Ended files: closed on the disk, then put into the object store in the background; and deleting them again.

Nothing here is waited for by the writer. A store that fails is tried again with back-off; until then the local file is the recording.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from services.storage import metrics
from services.storage.adapters import disk
from services.storage.adapters.buckets import Buckets, each_bucket_alone
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.disk import DiskError
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.notices import Notices
from services.storage.adapters.reach import Reach
from services.storage.adapters.writer import Writer
from services.storage.core.boxes import Mp4Error
from services.storage.core.model import Recording, State
from shared.domain.clock import Clock
from shared.domain.errors import ObjectLocked, ObjectNotFound, ObjectStoreError, StorageFull
from shared.messages import RecordingChange
from shared.objects.port import ObjectStore

log = structlog.get_logger(__name__)

CONTENT_TYPE = "video/mp4"
_RETRY_MIN_S, _RETRY_MAX_S = 1.0, 60.0
_BATCH = 64


class Archive:
    """Closes, uploads and removes recording files."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        buckets: Buckets,
        writer: Writer,
        ledger: Ledger,
        notices: Notices,
        reach: Reach,
        clock: Clock,
    ) -> None:
        self._layout, self._catalogue, self._buckets, self._writer = layout, catalogue, buckets, writer
        self._ledger, self._notices, self._reach, self._clock = ledger, notices, reach, clock
        self._ended: deque[str] = deque()
        self._finish_wake, self._upload_wake = asyncio.Event(), asyncio.Event()
        self._finishing = asyncio.Lock()
        self._uploading, self._locking = defaultdict[str, asyncio.Lock](asyncio.Lock), defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._waiting: dict[str, int] = {}  # files, as far as they have been looked at; buckets as rows name them, all three
        self._steps: set[asyncio.Task[None]] = set()

    @property
    def unfinished(self) -> int:
        """Ended files that are not closed yet."""
        return len(self._ended)

    def ended(self, recording_ids: Iterable[str]) -> None:
        """These recordings take no more segments."""
        self._ended.extend(recording_ids)
        self._finish_wake.set()

    async def finish_loop(self) -> None:
        """Close ended files. Supervised; a file that cannot be closed now is tried again."""
        backoff_s = _RETRY_MIN_S
        while True:
            try:
                await self.finish_all()
                backoff_s = _RETRY_MIN_S
            except (DiskError, StorageFull) as error:
                if isinstance(error, StorageFull) and await asyncio.to_thread(disk.give_ballast, self._layout.ballast):
                    continue  # what is not closed cannot be deleted to make room
                log.warning("a recording could not be closed yet", error=str(error))
                await self._clock.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _RETRY_MAX_S)
                continue
            await self._finish_wake.wait()

    async def finish_all(self) -> None:
        """Close what has ended, oldest first.

        Raises:
            DiskError, StorageFull, CatalogueError: the first that could not be closed stays in the queue.
        """
        self._finish_wake.clear()
        while self._ended:
            recording = await self._catalogue.get(self._ended[0])
            if recording is not None and recording.state is State.OPEN:
                await self._whole(partial(self._finish, recording), self._finishing)
            self._ended.popleft()
            self._upload_wake.set()

    async def _whole(self, step: Callable[[], Awaitable[None]], turn: asyncio.Lock) -> None:
        """One step at a `turn`, and never half of one: a cancelled loop leaves it to end by itself, and who comes next waits for it."""

        async def alone() -> None:
            async with turn:
                await step()

        task = asyncio.create_task(alone())
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        await asyncio.shield(task)

    async def stop(self) -> None:
        """End what a loop that was cancelled has left to itself, half-way as a crash would. Idempotent."""
        steps = list(self._steps)
        for step in steps:
            step.cancel()
        await asyncio.gather(*steps, return_exceptions=True)

    async def _finish(self, recording: Recording) -> None:
        found = await self._catalogue.get(recording.id)
        if found is None or found.state is not State.OPEN:
            return  # a step that was left to itself has done it
        try:
            finished = await self._writer.finish(found, await self._catalogue.segments_of(recording.id))
        except Mp4Error as error:  # it was checked when it was written: the disk has lost or changed something
            self._notices.set("storage.error", f"a recording of {recording.channel} is damaged: {error.what}")
            log.error("a recording is damaged on the disk", recording=recording.id, error=str(error))
            return
        async with self._ledger.changing():
            closed = await self._catalogue.close(found.id, finished.size_bytes, finished.sha256)
            if closed is not None:
                self._ledger.recording(closed, closed.size_bytes - found.size_bytes, locked=closed.locked)
        if closed is not None:
            self._notices.recording(closed, RecordingChange.STORED)

    async def upload_loop(self) -> None:
        """Put closed files into the object store, the oldest of each bucket first. No bucket waits for another. Supervised."""
        wakes: dict[str, asyncio.Event] = {}
        try:
            async with asyncio.TaskGroup() as loops:
                while True:
                    self._upload_wake.clear()
                    for bucket in await self._buckets_waited_for():
                        if bucket not in wakes:
                            wakes[bucket] = asyncio.Event()
                            loops.create_task(self._upload_into(bucket, wakes[bucket]))
                        wakes[bucket].set()
                    await self._upload_wake.wait()
        except ExceptionGroup as errors:  # who is told of it is to read what it was
            raise errors.exceptions[0] from errors

    async def _upload_into(self, bucket: str, wake: asyncio.Event) -> None:
        backoff_s = _RETRY_MIN_S
        while True:
            wake.clear()
            try:
                await self._upload_all_into(bucket)
            except (ObjectStoreError, StorageFull) as error:
                metrics.UPLOAD_FAILURES.inc()
                name = self._buckets.of_recordings(bucket)
                log.warning("finished recordings could not be put into the object store yet", bucket=name, error=str(error))
                await self._clock.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _RETRY_MAX_S)
                continue
            backoff_s = _RETRY_MIN_S
            await wake.wait()

    async def upload_all(self) -> None:
        """Put every closed file; a bucket that cannot be used now does not hold up the others.

        Raises:
            ObjectStoreError, StorageFull: not now; one of them.
        """
        each = [self._upload_all_into(bucket) for bucket in await self._buckets_waited_for()]
        for error in await asyncio.gather(*each, return_exceptions=True):
            if error is not None:
                raise error

    async def _buckets_waited_for(self) -> list[str]:
        found = await self._catalogue.buckets_waited_for()
        for bucket in found:
            self._waiting.setdefault(bucket, 1)
        return found

    async def _upload_all_into(self, bucket: str) -> None:
        name = self._buckets.of_recordings(bucket)
        while waiting := await self._catalogue.waiting(bucket, limit=_BATCH):
            self._waiting[bucket] = len(waiting)
            metrics.WAITING_FILES.set(sum(self._waiting.values()))
            for recording in waiting:
                try:
                    await self._whole(partial(self._upload, recording), self._uploading[bucket])
                except (ObjectStoreError, StorageFull) as error:
                    self._reach.failed(name, error)
                    raise
                self._reach.worked(name)
        self._waiting.pop(bucket, None)
        metrics.WAITING_FILES.set(sum(self._waiting.values()))
        self._reach.nothing_waits(but=map(self._buckets.of_recordings, self._waiting))

    async def _upload(self, recording: Recording) -> None:
        path = self._layout.path(recording)
        found = await self._catalogue.get(recording.id)
        if found is None or found.state is not State.CLOSED:
            return  # deleted meanwhile, or a step that was left to itself has done it
        store = await self._buckets.of(recording)
        try:
            await store.put_file(recording.object_key, path, content_type=CONTENT_TYPE, sha256=recording.sha256 or None)
        except ObjectNotFound:
            if await asyncio.to_thread(path.exists):  # whatever the store means by that, the footage is here
                raise
            await self._without_file(found, store)
            return
        except ObjectLocked:  # put and locked by an attempt that was cut short
            pass
        if not await self._catalogue.uploaded(recording.id):
            await self.remove_object(recording)  # it was marked for deletion while it was put
            return
        await asyncio.to_thread(path.unlink, missing_ok=True)
        await self.keep_lock(recording)

    async def _without_file(self, recording: Recording, store: ObjectStore) -> None:
        """There is nothing to put: it was put by an attempt whose row was never written, or deleted meanwhile, or the disk has lost it."""
        if await _is_there(store, recording):
            await self._catalogue.uploaded(recording.id)
        elif await self._lost(recording):  # it must not keep the others waiting
            log.error(
                "the file of a recording has disappeared from this disk", recording=recording.id, path=str(self._layout.path(recording))
            )
            self._notices.set("storage.error", f"a recording of {recording.channel} has disappeared from the disk")

    async def _lost(self, recording: Recording) -> bool:
        async with self._ledger.changing():
            lost = await self._catalogue.lost(recording.id)
            if lost is not None:
                self._ledger.recording(lost, -lost.size_bytes, locked=lost.locked)
        return lost is not None

    async def keep_lock(self, recording: Recording) -> None:
        """Make the object's lock that of its row, as the row is now. Before the upload there is no object yet: the upload does it."""
        async with self._locking[recording.bucket]:
            current = await self._catalogue.get(recording.id)
            if current is not None and current.state is State.UPLOADED:
                store = await self._buckets.of(current)
                await (store.lock if current.locked else store.unlock)(current.object_key)

    async def remove(self, recordings: Iterable[Recording]) -> dict[str, ObjectStoreError]:
        """Second and third step of deleting rows that are marked. The buckets that refused: what lies there is still marked."""
        return await each_bucket_alone(recordings, self._remove)

    async def _remove(self, recording: Recording) -> None:
        await self.remove_object(recording)
        await asyncio.to_thread(self._layout.path(recording).unlink, missing_ok=True)
        async with self._ledger.changing():
            await self._catalogue.forget([recording.id])
            self._ledger.recording(recording, -recording.size_bytes, locked=recording.locked)

    async def remove_object(self, recording: Recording) -> None:
        """Delete an object whose row allows it, though its own lock may have been left on."""
        store = await self._buckets.of(recording)
        try:
            await store.delete(recording.object_key)
        except ObjectLocked:
            await store.unlock(recording.object_key)
            await store.delete(recording.object_key)


async def _is_there(store: ObjectStore, recording: Recording) -> bool:
    try:
        return (await store.stat(recording.object_key)).size_bytes == recording.size_bytes
    except ObjectNotFound:
        return False
