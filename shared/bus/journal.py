"""Files behind a kept topic of the embedded bus (`Topic.kept`): one partition, append only, in order, fsynced before a message counts.

Files are called by the offset of their first message, `00000000000000000017.log`. A file is a run of frames:

    magic "VJ", kind, length of meta, length of value, CRC-32 of what follows | offset, timestamp_ns | meta | value

Kind M is a message in its wire form (`shared/messages/codec.py`); its place in the files is all that stays in memory. Kind C is what a
group has committed; each new file begins with all commits, so that older files can go. What a crash left of a frame at the end of the
last file is cut away when the journal is opened: it was never acknowledged. A damaged frame elsewhere costs that message alone.

Blocking, and safe to call from any thread.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.messages import Message
from shared.messages.codec import META, Wire

log = structlog.get_logger(__name__)

_HEAD = struct.Struct(">2scIII")
_WHERE = struct.Struct(">Qq")
_MAGIC = b"VJ"
_MESSAGE, _COMMIT = b"M", b"C"
#: The bound is kept in steps of whole files: so many of them at most.
FILES = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is. `size`: bytes of its frame."""

    file: Path
    at: int
    size: int
    offset: int
    timestamp_ns: int


class OnFile(Message):
    """Stands for a message that is read from its file when someone wants it; None: it was damaged, only its offset is left."""

    place: Place | None


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: bytes
    place: Place
    meta: bytes
    value: bytes

    @property
    def wire(self) -> Wire:
        return Wire(self.value, ((META, self.meta),) if self.meta else ())


def frame_bytes(wire: Wire) -> int:
    """What a message takes on disk."""
    return _HEAD.size + _WHERE.size + len(_meta(wire)) + len(wire.value)


def stored(folder: Path) -> Iterator[tuple[Place, Wire]]:
    """Every whole message in a folder, oldest first; nothing is changed. Blocking."""
    for file in _files(folder):
        yield from ((frame.place, frame.wire) for frame in _frames(file) if frame.kind == _MESSAGE)


class Journal:
    """The files of one partition. `open`, then `append`, `commit` and `load`; `close` at the end.

    Args:
        max_bytes: of all files together; `append` keeps files a share of it long, `forget` makes whole files go.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._file_bytes = max_bytes // FILES
        self._lock = threading.Lock()
        self._last: Path | None = None
        self._size = 0  # of the last file, up to the end of its last whole frame
        self._torn = False  # bytes of a frame that could not be written may follow
        #: Offset of the next message.
        self.next = 0
        self.commits: dict[str, int] = {}

    def open(self) -> list[Place | None]:
        """What is there, by offset without gaps, the first one whole: None for a message that was damaged.

        Raises:
            OSError: the folder cannot be read or written.
        """
        with self._lock:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            places: list[Place | None] = []
            for file in _files(self.folder):
                self._last, self._size = file, 0
                for frame in _frames(file):
                    self._size = frame.place.at + frame.place.size
                    if frame.kind == _MESSAGE:
                        self.next = max(self.next, int(file.stem), frame.place.offset + 1)
                        _add(places, frame.place)
                    else:
                        self._restore(frame)
                self.next = max(self.next, int(file.stem))
            if self._last is not None:
                self._cut()
            return places

    def _restore(self, frame: _Frame) -> None:
        commit = json.loads(frame.meta)
        self.commits[str(commit["group"])] = int(commit["next"])

    def append(self, timestamp_ns: int, wire: Wire) -> Place:
        """Write a message with the next offset, and fsync it.

        Raises:
            OSError: it is not there; whatever of it was written does not count.
        """
        with self._lock:
            offset = self.next
            frame = _frame(_MESSAGE, offset, timestamp_ns, _meta(wire), wire.value)
            if self._last is None or self._size + len(frame) > self._file_bytes:
                self._begin(offset)
            file, at = self._write(frame)
            self.next = offset + 1
        return Place(file, at, len(frame), offset, timestamp_ns)

    def commit(self, group: str, next_offset: int) -> None:
        """A group has handled everything below `next_offset`; kept once a message has been.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self.commits[group] = next_offset
            if self._last is not None:
                self._write(_commit_frame(group, next_offset))

    def load(self, place: Place) -> Wire | None:
        """A message in its wire form; None: it has been dropped, or its bytes are damaged."""
        try:
            with place.file.open("rb") as file:
                file.seek(place.at)
                frame = _read(memoryview(file.read(place.size)), place.file, place.at)
        except OSError as error:
            log.warning("a kept message cannot be read any more", file=str(place.file), offset=place.offset, error=error.strerror)
            return None
        if frame is None or frame.place.offset != place.offset:
            log.error("a kept message is damaged", file=str(place.file), offset=place.offset)
            return None
        return frame.wire

    def forget(self, first: int) -> None:
        """Delete the files that hold only messages below offset `first`. The last file stays.

        Raises:
            OSError: they cannot be deleted.
        """
        with self._lock:
            files = _files(self.folder)
            for file, following in itertools.pairwise(files):
                if int(following.stem) <= first:
                    file.unlink(missing_ok=True)

    def _begin(self, offset: int) -> None:
        """A new file, with the commits so far."""
        file = self.folder / f"{offset:020d}.log"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as new:
            new.write(b"".join(_commit_frame(group, following) for group, following in self.commits.items()))
            new.flush()
            os.fsync(new.fileno())
            self._size = new.tell()
        self._last, self._torn = file, False
        _sync_folder(self.folder)

    def _write(self, frame: bytes) -> tuple[Path, int]:
        assert self._last is not None
        self._cut()
        at = self._size
        self._torn = True
        with self._last.open("ab", buffering=0) as file:
            written = 0
            while written < len(frame):
                written += file.write(frame[written:])
            os.fsync(file.fileno())
        self._size, self._torn = at + len(frame), False
        return self._last, at

    def _cut(self) -> None:
        """Cut away what follows the last whole frame."""
        assert self._last is not None
        if self._torn or self._last.stat().st_size > self._size:
            with self._last.open("r+b") as file:
                file.truncate(self._size)
                os.fsync(file.fileno())
            self._torn = False


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.log") if file.stem.isdigit())


def _add(places: list[Place | None], place: Place) -> None:
    if places and places[0] is not None:
        expected = places[0].offset + len(places)
        if place.offset < expected:
            return
        places += [None] * (place.offset - expected)
    places.append(place)


def _meta(wire: Wire) -> bytes:
    return dict(wire.headers).get(META, b"")


def _frame(kind: bytes, offset: int, timestamp_ns: int, meta: bytes, value: bytes) -> bytes:
    body = b"".join((_WHERE.pack(offset, timestamp_ns), meta, value))
    return _HEAD.pack(_MAGIC, kind, len(meta), len(value), zlib.crc32(body)) + body


def _commit_frame(group: str, next_offset: int) -> bytes:
    return _frame(_COMMIT, next_offset, 0, json.dumps({"group": group, "next": next_offset}).encode(), b"")


def _frames(file: Path) -> Iterator[_Frame]:
    """Whole frames; what is between them is damaged, and is logged."""
    whole = file.read_bytes()
    data = memoryview(whole)
    at = damaged = 0
    while at < len(data):
        frame = _read(data[at:], file, at)
        if frame is not None:
            yield frame
            at += frame.place.size
            continue
        following = whole.find(_MAGIC, at + 1)
        following = len(data) if following < 0 else following
        damaged, at = damaged + following - at, following
    if damaged:
        log.warning("a journal is damaged, or was cut off by a crash", file=str(file), bytes=damaged)


def _read(data: memoryview, file: Path, at: int) -> _Frame | None:
    """The frame that `data` begins with; None: it is none, or not whole."""
    if len(data) < _HEAD.size + _WHERE.size:
        return None
    magic, kind, meta_bytes, value_bytes, checksum = _HEAD.unpack_from(data)
    size = _HEAD.size + _WHERE.size + meta_bytes + value_bytes
    if magic != _MAGIC or len(data) < size:
        return None
    body = data[_HEAD.size : size]
    if zlib.crc32(body) != checksum:
        return None
    offset, timestamp_ns = _WHERE.unpack_from(body)
    meta_end = _WHERE.size + meta_bytes
    return _Frame(kind, Place(file, at, size, offset, timestamp_ns), bytes(body[_WHERE.size : meta_end]), bytes(body[meta_end:]))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
