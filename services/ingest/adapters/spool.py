"""The durable spool: segments on this device's disk until storage has them.

A file is a playable MP4: our metadata rides in a `free` box before and one after the segment. Open segments are `*.part`: each
whole group of pictures is flushed to disk, so that a power cut costs the open one at most. A finished segment is fsynced, renamed to
`*.mp4`, and its folder fsynced (invariants 2 and 3). What was interrupted is completed from its whole fragments at start.

    <root>/<channel>/<number>.mp4        free(header) | the segment: ftyp moov (moof mdat)... | free(footer)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from services.ingest.core.fragments import boxes, whole
from services.ingest.core.segmenter import ticks_to_ns
from services.ingest.core.spool_index import Entry, SpoolIndex
from shared.domain.errors import StorageFull, VedetteError
from shared.messages.media import SegmentMessage

log = structlog.get_logger(__name__)

_HEADER, _FOOTER = b"VDTH", b"VDTF"  # told apart: a crash can leave a file that is nothing but its header
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class SpoolError(VedetteError):
    """The spool folder cannot be read or written (permissions, a broken disk)."""


def _error(error: OSError, where: Path) -> VedetteError:
    if error.errno in _NO_SPACE:
        return StorageFull("the disk of the spool is full", where=where.name, hint="free space, or let storage catch up")
    return SpoolError(
        f"the spool cannot be written: {error.strerror or error}", where=str(where), hint="check the folder's owner, mode and disk"
    )


def _box(magic: bytes, meta: dict[str, Any]) -> bytes:
    """A `free` box with our metadata; its last four bytes are its size, so that it can be found from the end of a file."""
    text = json.dumps(meta, separators=(",", ":")).encode()
    size = 8 + len(magic) + len(text) + 4
    return struct.pack(">I4s4s", size, b"free", magic) + text + struct.pack(">I", size)


def _read_box(magic: bytes, data: memoryview, start: int, end: int) -> dict[str, Any] | None:
    if end - start < 16 or bytes(data[start + 4 : start + 12]) != b"free" + magic:
        return None
    try:
        meta = json.loads(bytes(data[start + 12 : end - 4]))
    except ValueError:
        return None
    return meta if isinstance(meta, dict) else None


def _read_footer(data: memoryview) -> tuple[dict[str, Any], int] | None:
    """(footer, where it begins), or None when the file has none."""
    if len(data) < 16:
        return None
    size = int(struct.unpack_from(">I", data, len(data) - 4)[0])
    start = len(data) - size
    footer = _read_box(_FOOTER, data, start, len(data)) if 16 <= size <= len(data) else None
    return None if footer is None else (footer, start)


def _footer_of(descriptor: int, size: int) -> tuple[dict[str, Any] | None, int]:
    """(footer, where it begins) of an open file of that size; (None, 0) when it has none."""
    if size < 16:
        return None, 0
    length = int.from_bytes(os.pread(descriptor, 4, size - 4), "big")
    if not 16 <= length <= size:
        return None, 0
    found = _read_footer(memoryview(os.pread(descriptor, length, size - length)))
    return (None, 0) if found is None else (found[0], size - length)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class _Gate:
    """What the files share with their spool."""

    index: SpoolIndex
    lock: threading.Lock
    committed: Callable[[Entry], None]


class SpoolFile:
    """One open segment; the muxer writes into it. Used by one thread at a time.

    Attributes:
        number: of the spool.
        size_bytes: of the segment so far.
    """

    def __init__(self, folder: Path, channel: str, number: int, header: dict[str, Any], gate: _Gate) -> None:
        self._channel, self.number, self._gate = channel, number, gate
        self._header = header
        self._part = folder / f"{number:016d}.part"
        self._folder = folder
        self._hash = hashlib.sha256()
        self._reserved = 0
        self.size_bytes = 0
        self.error: VedetteError | None = None
        box = _box(_HEADER, header)
        self._reserve(len(box))
        try:
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            self._gate_release()
            raise _error(error, self._part) from error
        self._write(box)

    def _reserve(self, size: int) -> None:
        with self._gate.lock:
            if not self._gate.index.reserve(size):
                raise StorageFull(
                    f"the spool holds {self._gate.index.used_bytes} bytes, its limit is {self._gate.index.max_bytes}",
                    where=self._channel,
                    hint="storage does not take segments: see its state, or raise ingest.spool_max_bytes",
                )
        self._reserved += size

    def _gate_release(self) -> None:
        with self._gate.lock:
            self._gate.index.release(self._reserved)
        self._reserved = 0

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _error(error, self._part) from error

    def write(self, data: bytes) -> int:
        """The muxer's output, whole buffers at a time."""
        if self._descriptor < 0:
            return len(data)  # abandoned: what libav still writes when it is closed goes nowhere
        try:
            self._reserve(len(data))
            self._write(data)
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
            raise _error(error, self._part) from error

    def finish(self, footer: dict[str, Any]) -> Entry:
        """Make the segment durable and hand it to the index. `footer` completes the header to a SegmentMessage, but for
        size and hash, which are added here. Raises SpoolError, StorageFull; the file is then abandoned."""
        meta = self._header | footer | {"size_bytes": self.size_bytes, "sha256": self._hash.hexdigest()}
        box = _box(_FOOTER, meta)
        try:
            self._reserve(len(box))
            self._write(box)
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            final = self._part.with_suffix(".mp4")
            self._part.rename(final)
            _fsync_folder(self._folder)
        except OSError as error:
            self.abandon()
            raise _error(error, self._part) from error
        except VedetteError:
            self.abandon()
            raise
        entry = Entry(self._channel, self.number, final.name, self._reserved)
        with self._gate.lock:
            self._gate.index.commit(entry)
        self._gate.committed(entry)
        return entry

    def abandon(self) -> None:
        """Give the segment up and free its room. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        for path in (self._part, self._part.with_suffix(".mp4")):
            path.unlink(missing_ok=True)
        self._gate_release()


class Spool:
    """All channels' spools under one folder and one byte limit. Thread-safe."""

    def __init__(self, root: Path, max_bytes: int, committed: Callable[[Entry], None] = lambda _entry: None) -> None:
        """`committed` is called by the writing thread for every new segment."""
        self._root = root
        self._gate = _Gate(SpoolIndex(max_bytes), threading.Lock(), committed)

    def open(self) -> int:
        """Read the folder, complete what was interrupted, delete what cannot be. How many segments wait.

        Raises:
            SpoolError: the folder cannot be read or written.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._root / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
            entries = [entry for folder in sorted(self._root.iterdir()) if folder.is_dir() for entry in self._restore(folder)]
        except OSError as error:
            raise _error(error, self._root) from error
        with self._gate.lock:
            self._gate.index.restore(entries)
        return len(entries)

    def _restore(self, folder: Path) -> list[Entry]:
        entries = []
        for path in sorted(folder.iterdir()):
            if path.suffix == ".part" and not self._complete(path):
                path.unlink()
                continue
            final = path.with_suffix(".mp4")
            if path.suffix in (".part", ".mp4") and final.stem.isdigit():
                entries.append(Entry(folder.name, int(final.stem), final.name, final.stat().st_size))
        if entries:
            _fsync_folder(folder)
        return entries

    def _complete(self, part: Path) -> bool:
        """Make an interrupted segment whole: keep its whole fragments. False when it holds none."""
        data = memoryview(part.read_bytes())
        footer = _read_footer(data)
        if footer is None:
            kind, _, _, begin = next(boxes(data), (b"", 0, 0, 0))
            header = _read_box(_HEADER, data, 0, begin) if kind == b"free" else None
            found = whole(data[begin:])
            if header is None or not found.frames:
                log.warning("an interrupted segment holds nothing whole and is deleted", file=part.name, channel=part.parent.name)
                return False
            duration_ns = ticks_to_ns(found.ticks)
            payload = data[begin : begin + found.end]
            meta = header | {
                "end_ns": header["start_ns"] + duration_ns,
                "duration_ns": duration_ns,
                "frames": found.frames,
                "key_frames": found.key_frames,
                "size_bytes": len(payload),
                "sha256": hashlib.sha256(payload).hexdigest(),
            }
            with part.open("r+b") as file:
                file.truncate(begin + found.end)
                file.seek(0, os.SEEK_END)
                file.write(_box(_FOOTER, meta))
                file.flush()
                os.fsync(file.fileno())
            log.info("an interrupted segment was completed", channel=part.parent.name, frames=found.frames)
        part.rename(part.with_suffix(".mp4"))
        return True

    def create(self, channel: str, header: dict[str, Any]) -> SpoolFile:
        """A new open segment. `header`: all of a SegmentMessage that is known at its first frame.

        Raises:
            StorageFull: the limit or the disk leaves no room.
            SpoolError: the folder cannot be written.
        """
        folder = self._root / channel
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _fsync_folder(self._root)
        except OSError as error:
            raise _error(error, folder) from error
        with self._gate.lock:
            number = self._gate.index.begin()
        return SpoolFile(folder, channel, number, header, self._gate)

    def next_after(self, channel: str, number: int) -> Entry | None:
        """The oldest segment of a channel with a larger number that waits."""
        with self._gate.lock:
            return self._gate.index.after(channel, number)

    def load(self, entry: Entry) -> SegmentMessage:
        """The message of a waiting segment. Raises SpoolError when its file cannot be read or is no segment."""
        path = self._root / entry.channel / entry.name
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                footer, end = _footer_of(file.fileno(), size)
                begin = int.from_bytes(os.pread(file.fileno(), 4, 0), "big")  # the header's box
                if footer is None or not 16 <= begin <= end:
                    raise SpoolError("a waiting file is no segment", where=str(path), hint="it is set aside")
                # Read once, straight into what is published: a segment is megabytes.
                payload = os.pread(file.fileno(), end - begin, begin)
        except OSError as error:
            raise SpoolError(f"a waiting segment cannot be read: {error.strerror}", where=str(path), hint="check the disk") from error
        return SegmentMessage(**footer, payload=payload)

    def acknowledge(self, entry: Entry) -> None:
        """Storage has it: delete it. A deletion that is lost in a crash only makes a redelivery."""
        (self._root / entry.channel / entry.name).unlink(missing_ok=True)
        with self._gate.lock:
            self._gate.index.acknowledge(entry)

    def set_aside(self, entry: Entry) -> None:
        """Keep an unreadable file under another name and forget it."""
        path = self._root / entry.channel / entry.name
        if path.exists():
            path.rename(path.with_suffix(".bad"))
        with self._gate.lock:
            self._gate.index.acknowledge(entry)

    def waiting(self, channel: str) -> tuple[int, int]:
        """(segments, bytes) of a channel that wait."""
        with self._gate.lock:
            return self._gate.index.waiting(channel)

    @property
    def used_bytes(self) -> int:
        """Of durable and open segments."""
        with self._gate.lock:
            return self._gate.index.used_bytes

    def channels(self) -> frozenset[str]:
        """Channels that have something waiting."""
        with self._gate.lock:
            return frozenset(entry.channel for entry in self._gate.index.entries())
