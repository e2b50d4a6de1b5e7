"""The durable spool: segments on this device's disk until storage has them.

A file is a playable MP4: our metadata rides in a `free` box before and one after the segment. Open segments are `*.part`: each
whole group of pictures is flushed to disk, so that a power cut costs the open one at most. A finished segment is fsynced, renamed to
`*.mp4`, and its folder fsynced (invariants 2 and 3). What was interrupted is completed from its whole fragments at start.

    <root>/<channel>/<number>.mp4        free(header) | the segment: ftyp moov (moof mdat)... | free(footer)
                     <number>.bad        no segment that this version can read: kept, and never looked at again
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from services.ingest.adapters.spool_boxes import FOOTER, HEADER, box, payload_range, read_box, read_footer
from services.ingest.adapters.spool_file import NO_SPACE, Room, SpoolError, SpoolFile, fsync_folder, spool_error
from services.ingest.core.fragments import boxes, whole
from services.ingest.core.segmenter import ticks_to_ns
from services.ingest.core.spool_index import Entry, SpoolIndex
from shared.messages.media import SegmentMessage

log = structlog.get_logger(__name__)


class Spool:
    """All channels' spools under one folder and one byte limit. Thread-safe."""

    def __init__(
        self, root: Path, max_bytes: int, *, min_free_bytes: int = 0, committed: Callable[[Entry], None] = lambda _entry: None
    ) -> None:
        """`min_free_bytes`: never written below on the disk. `committed` is called by the writing thread for every new segment."""
        self._root = root
        self._room = Room(root, SpoolIndex(max_bytes), min_free_bytes, committed)

    def limit(self, max_bytes: int, min_free_bytes: int) -> None:
        """For what is written from here on; nothing that is there is given up."""
        self._room.limit(max_bytes, min_free_bytes)

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
            folders = [folder for folder in sorted(self._root.iterdir()) if folder.is_dir()]
            entries = [entry for folder in folders for entry in _restore(folder)]
            taken = [int(path.stem) for folder in folders for path in folder.iterdir() if path.stem.isdigit()]
        except OSError as error:
            raise spool_error(error, self._root) from error
        with self._room.lock:
            self._room.index.restore(entries, next_number=max(taken, default=-1) + 1)
        return len(entries)

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
                fsync_folder(self._root)
        except OSError as error:
            raise spool_error(error, folder) from error
        with self._room.lock:
            number = self._room.index.begin()
        return SpoolFile(folder, channel, number, header, self._room)

    def next_after(self, channel: str, number: int) -> Entry | None:
        """The oldest segment of a channel with a larger number that waits."""
        with self._room.lock:
            return self._room.index.after(channel, number)

    def load(self, entry: Entry) -> SegmentMessage:
        """The message of a waiting segment. Raises SpoolError when its file cannot be read or is no segment."""
        path = self._root / entry.channel / entry.name
        try:
            with path.open("rb", buffering=0) as file:
                found = payload_range(file.fileno(), os.fstat(file.fileno()).st_size)
                if found is None:
                    raise _no_segment(path)
                footer, begin, end = found
                # Read once, straight into what is published: a segment is megabytes.
                payload = os.pread(file.fileno(), end - begin, begin)
        except OSError as error:
            raise SpoolError(f"a waiting segment cannot be read: {error.strerror}", where=str(path), hint="check the disk") from error
        try:
            return SegmentMessage.model_validate(footer | {"payload": payload})
        except ValidationError as error:  # written by another version, or by somebody else
            fields = sorted({".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)})
            raise _no_segment(path, f" that this version can read ({', '.join(fields)})") from None

    def acknowledge(self, entry: Entry) -> None:
        """Storage has it: delete it. A deletion that is lost in a crash only makes a redelivery."""
        (self._root / entry.channel / entry.name).unlink(missing_ok=True)
        with self._room.lock:
            self._room.index.acknowledge(entry)

    def set_aside(self, entry: Entry) -> None:
        """Keep an unreadable file under another name and forget it. Where the disk refuses that, it is met again after a restart."""
        path = self._root / entry.channel / entry.name
        try:
            path.rename(path.with_suffix(".bad"))
        except OSError as error:
            log.warning("an unreadable file could not be renamed", file=path.name, channel=entry.channel, error=error.strerror)
        with self._room.lock:
            self._room.index.acknowledge(entry)

    def waiting(self, channel: str) -> tuple[int, int]:
        """(segments, bytes) of a channel that wait."""
        with self._room.lock:
            return self._room.index.waiting(channel)

    @property
    def used_bytes(self) -> int:
        """Of durable and open segments."""
        with self._room.lock:
            return self._room.index.used_bytes

    def channels(self) -> frozenset[str]:
        """Channels that have something waiting."""
        with self._room.lock:
            return frozenset(entry.channel for entry in self._room.index.entries())


def _no_segment(path: Path, why: str = "") -> SpoolError:
    return SpoolError(f"a waiting file is no segment{why}", where=str(path), hint="it is set aside as *.bad and the next is handed over")


def _restore(folder: Path) -> list[Entry]:
    """What waits in a channel's folder. Raises OSError."""
    entries = []
    for path in sorted(folder.iterdir()):
        final = path.with_suffix(".mp4")
        if path.suffix not in (".part", ".mp4") or not final.stem.isdigit():
            continue
        if path.suffix == ".part" and not _complete(path, final):
            continue
        entries.append(Entry(folder.name, int(final.stem), final.name, final.stat().st_size))
    if entries:
        fsync_folder(folder)
    return entries


def _complete(part: Path, final: Path) -> bool:
    """Make an interrupted segment whole and give it its final name: keep its whole fragments. False when it does not wait then: it
    held none and is deleted, it is no segment and is set aside, or a full disk leaves that to the next start. Raises OSError."""
    data = memoryview(part.read_bytes())
    if read_footer(data) is None:
        kind, _, _, begin = next(boxes(data), (b"", 0, 0, 0))
        header = read_box(HEADER, data, 0, begin) if kind == b"free" else None
        found = whole(data[begin:])
        if header is None or not found.frames:
            log.warning("an interrupted segment holds nothing whole and is deleted", file=part.name, channel=part.parent.name)
            part.unlink()
            return False
        start_ns = header.get("start_ns")
        if not isinstance(start_ns, int):
            log.warning("an interrupted file is no segment and is set aside", file=part.name, channel=part.parent.name)
            part.rename(part.with_suffix(".bad"))
            return False
        duration_ns = ticks_to_ns(found.ticks)
        payload = data[begin : begin + found.end]
        meta = header | {
            "end_ns": start_ns + duration_ns,
            "duration_ns": duration_ns,
            "frames": found.frames,
            "key_frames": found.key_frames,
            "size_bytes": len(payload),
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        try:
            _end_with(part, begin + found.end, box(FOOTER, meta))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            log.warning("no room to complete an interrupted segment; the next start tries again", file=part.name, channel=part.parent.name)
            return False
        log.info("an interrupted segment was completed", channel=part.parent.name, frames=found.frames)
    part.rename(final)
    return True


def _end_with(part: Path, size: int, footer: bytes) -> None:
    """Cut a file to `size` bytes and put its footer there, durably. Raises OSError; it can be done again then."""
    with part.open("r+b", buffering=0) as file:
        file.truncate(size)
        file.seek(size)
        view = memoryview(footer)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
