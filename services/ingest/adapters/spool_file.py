"""One segment on its way to the disk, and the room that all of them share."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from services.ingest.adapters.spool_boxes import FOOTER, HEADER, box
from services.ingest.core.spool_index import Entry, SpoolIndex
from shared.config.services import MIB
from shared.domain.errors import StorageFull, VedetteError

log = structlog.get_logger(__name__)

#: What a full disk or quota says.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class SpoolError(VedetteError):
    """The spool folder cannot be read or written (permissions, a broken disk), or a file in it is no segment."""


def spool_error(error: OSError, where: Path) -> VedetteError:
    """What the disk said, as ours."""
    if error.errno in NO_SPACE:
        return StorageFull("the disk of the spool is full", where=where.name, hint="free space, or let storage catch up")
    return SpoolError(
        f"the spool cannot be written: {error.strerror or error}", where=str(where), hint="check the folder's owner, mode and disk"
    )


def fsync_folder(folder: Path) -> None:
    """Make names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Room:
    """What may still be written, and what waits. Thread-safe.

    Attributes:
        lock: to be held with `index`.
    """

    def __init__(self, root: Path, index: SpoolIndex, min_free_bytes: int, committed: Callable[[Entry], None]) -> None:
        """`min_free_bytes`: as storage keeps free on the disk (one threshold for all who write); 0: the disk's own limit.
        `committed` is called by the writing thread for every new segment."""
        self._root, self.index, self._min_free_bytes, self._committed = root, index, min_free_bytes, committed
        self.lock = threading.Lock()

    def limit(self, max_bytes: int, min_free_bytes: int) -> None:
        """For what is reserved from here on."""
        with self.lock:
            self.index.max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes

    def reserve(self, size: int, channel: str) -> None:
        """Take room for `size` bytes more.

        Raises:
            StorageFull: the byte limit, or what is kept free on the disk.
            OSError: the disk does not say how full it is.
        """
        if self._min_free_bytes:  # asked at each write, a few a second and camera: the call does not touch the disk
            found = os.statvfs(self._root)
            free_bytes = found.f_bavail * found.f_frsize
            if free_bytes - size < self._min_free_bytes:
                raise StorageFull(
                    f"the disk of the spool has {free_bytes // MIB} MiB free, {self._min_free_bytes // MIB} MiB are kept free",
                    where=channel,
                    hint="free space on it, or lower storage.min_free_bytes",
                )
        with self.lock:
            if not self.index.reserve(size):
                raise StorageFull(
                    f"the spool holds {self.index.used_bytes} bytes, its limit is {self.index.max_bytes}",
                    where=channel,
                    hint="storage does not take segments: see its state, or raise ingest.spool_max_bytes",
                )

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        with self.lock:
            self.index.release(size)

    def commit(self, entry: Entry) -> None:
        """A segment is durable."""
        with self.lock:
            self.index.commit(entry)
        self._committed(entry)


class SpoolFile:
    """One open segment; the muxer writes into it. Used by one thread at a time.

    Attributes:
        number: of the spool.
        size_bytes: of the segment so far.
        error: what it was given up for; None: nothing.
    """

    def __init__(self, folder: Path, channel: str, number: int, header: dict[str, Any], room: Room) -> None:
        """Begin the file. Raises StorageFull, SpoolError; nothing is left behind then."""
        self._channel, self.number, self._room = channel, number, room
        self._header = header
        self._part = folder / f"{number:016d}.part"
        self._folder = folder
        self._hash = hashlib.sha256()
        self._reserved = 0
        self._descriptor = -1
        self.size_bytes = 0
        self.error: VedetteError | None = None
        try:
            head = box(HEADER, header)
            self._reserve(len(head))
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            self._write(head)
        except OSError as error:
            self.abandon()
            raise spool_error(error, self._part) from error
        except VedetteError:
            self.abandon()
            raise

    def _reserve(self, size: int) -> None:
        self._room.reserve(size, self._channel)
        self._reserved += size

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def write(self, data: bytes) -> int:
        """The muxer's output, whole buffers at a time. Raises StorageFull, SpoolError."""
        if self._descriptor < 0 or self.error is not None:
            return len(data)  # given up: what libav still writes when it is closed goes nowhere
        try:
            self._reserve(len(data))
            self._write(data)
        except OSError as error:
            self.error = spool_error(error, self._part)
            raise self.error from error
        except VedetteError as error:
            self.error = error  # libav may swallow what is raised in its callbacks: the recorder asks for it
            raise
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    def flush_to_disk(self) -> None:
        """Make what was written survive a power cut. Raises SpoolError, StorageFull."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise spool_error(error, self._part) from error

    def finish(self, footer: dict[str, Any]) -> Entry:
        """Make the segment durable and hand it to the index. `footer` completes the header to a SegmentMessage, but for
        size and hash, which are added here. Raises SpoolError, StorageFull (also of an earlier write); the file is then abandoned."""
        meta = self._header | footer | {"size_bytes": self.size_bytes, "sha256": self._hash.hexdigest()}
        tail = box(FOOTER, meta)
        final = self._part.with_suffix(".mp4")
        try:
            if self.error is not None:  # libav swallowed it: a part is missing
                raise self.error
            self._reserve(len(tail))
            self._write(tail)
            os.fsync(self._descriptor)
            self._close()
            self._part.rename(final)
            fsync_folder(self._folder)
        except OSError as error:
            self.abandon()
            raise spool_error(error, self._part) from error
        except VedetteError:
            self.abandon()
            raise
        entry = Entry(self._channel, self.number, final.name, self._reserved)
        self._room.commit(entry)
        return entry

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def abandon(self) -> None:
        """Give the segment up and free its room. Idempotent; the disk may refuse even this, which is only logged."""
        try:
            self._close()
            for path in (self._part, self._part.with_suffix(".mp4")):
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("what is left of a segment could not be deleted", file=self._part.name, channel=self._channel, error=str(error))
        self._room.release(self._reserved)
        self._reserved = 0
