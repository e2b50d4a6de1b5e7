"""What storage does with files on this disk. Everything here blocks and runs in threads; nothing here knows the catalogue."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from services.storage.core.boxes import Buffer
from services.storage.core.mp4 import fragments, parse_header
from services.storage.core.mp4_index import duration_patches, random_access_index, track_ends
from services.storage.core.policy import Space
from shared.config.services import MIB
from shared.domain.errors import StorageFull, VedetteError

#: Buffers of one writev (Linux takes 1024).
_VECTOR = 512
#: A reserve for the catalogue, see `take_ballast`.
BALLAST_BYTES = 4 * MIB
#: What a full disk, quota or file size limit says.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskError(VedetteError):
    """The disk refused for another reason than being full."""


@contextmanager
def errors_mapped(path: Path) -> Iterator[None]:
    """OSError becomes `StorageFull` or `DiskError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull("the disk is full", where=str(path)) from error
        raise DiskError(f"the disk refused: {error.strerror}", where=str(path), hint="check the disk and its permissions") from error


def make_folders(folder: Path) -> None:
    """Make a folder, durably."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, at: int, buffers: Sequence[Buffer]) -> None:
    """Write `buffers` one after the other at byte `at`, and make them durable. At 0 the file is made anew.

    What an attempt that failed left behind `at` is written over. One that finds the disk full leaves nothing: the catalogue needs the
    room that it had begun to take, to record what is deleted for it.

    Raises:
        OSError: nothing behind `at` is to be trusted then.
    """
    end = at
    if at == 0:
        make_folders(path.parent)
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if at == 0 else 0)
    descriptor = os.open(path, flags, 0o644)
    try:
        waiting = [memoryview(buffer) for buffer in buffers if len(buffer)]
        while waiting:
            written = os.pwritev(descriptor, waiting[:_VECTOR], at)
            at += written
            while waiting and written >= len(waiting[0]):
                written -= len(waiting.pop(0))
            if written:
                waiting[0] = waiting[0][written:]
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in FULL:
            with suppress(OSError):
                os.ftruncate(descriptor, end)
        raise
    finally:
        os.close(descriptor)
    if flags & os.O_CREAT:
        sync_folder(path.parent)


def read(path: Path, start: int, end: int) -> bytes:
    """Bytes `start` to `end` (fewer at the end of the file)."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


@dataclass(frozen=True, slots=True)
class Finished:
    """A closed file."""

    size_bytes: int
    sha256: str


def finish(path: Path, length: int, footer: bytes = b"") -> Finished:
    """Close a recording file of `length` catalogued bytes: cut what is behind them, add footer, index and durations, sync, digest.

    Repeatable: what an interrupted attempt left is replaced.

    Raises:
        Mp4Error: the file is no fragmented MP4.
        OSError: it is not closed; try again.
    """
    with path.open("r+b") as file:
        file.truncate(length)
        with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            header = parse_header(view)
            found = list(fragments(view, header, len(header.data)))
            index = random_access_index(found, header)
            patches = duration_patches(header.data, header, track_ends(found))
        added = _append_if_room(file.fileno(), footer + index, length)
        for patch in patches:
            os.pwrite(file.fileno(), patch.data, patch.at)
        os.fsync(file.fileno())
        file.seek(0)
        return Finished(length + len(added), hashlib.file_digest(file, "sha256").hexdigest())


def _append_if_room(descriptor: int, end: bytes, at: int) -> bytes:
    """What could be written of the file's end: all, or nothing on a full disk: it must be closed all the same, to become deletable."""
    try:
        if os.pwrite(descriptor, end, at) == len(end):
            return end
    except OSError as error:
        if error.errno not in FULL:
            raise
    os.ftruncate(descriptor, at)
    return b""


def read_end(path: Path, length: int) -> bytes:
    """The last `length` bytes (fewer of a shorter file)."""
    size = path.stat().st_size
    return read(path, max(0, size - length), size)


def whole_bytes(path: Path) -> int:
    """Where the last whole moof + mdat of a file ends; 0 when not even its header is whole."""
    size = path.stat().st_size
    if size == 0:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
        try:
            header = parse_header(view)
            end = len(header.data)
            for fragment in fragments(view, header, end):
                end = fragment.end
        except VedetteError:
            return 0
    return end


def space(folder: Path, used_bytes: int) -> Space:
    """How much room the disk of a folder has."""
    found = os.statvfs(folder)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, used_bytes)


def take_ballast(path: Path) -> None:
    """Lay by a few MiB that `give_ballast` frees: on a full disk the catalogue needs room to record what is deleted."""
    if not path.exists():
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError:  # no room for it now; the cleaner asks again
            path.unlink(missing_ok=True)


def give_ballast(path: Path) -> bool:
    """Whether there was any."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def give_ballast_if_full(path: Path) -> bool:
    """Whether there was any, on a disk with less room than that: what a database says about a full one does not always tell."""
    with suppress(OSError):
        return space(path.parent, 0).free_bytes < BALLAST_BYTES and give_ballast(path)
    return False


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
