"""Boxes of ISO/IEC 14496-12: finding them, and making a few."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.errors import VedetteError

Buffer = bytes | bytearray | memoryview


class Mp4Error(VedetteError):
    """The bytes are no fragmented MP4 that can be stored."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box. Offsets in bytes: `start` of the box, `content` after its size and type, `end` after its last byte."""

    kind: bytes
    start: int
    content: int
    end: int


def boxes(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that lie wholly between `start` and `end`; stops before the first that does not."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            if start + 16 > end:
                return
            size = struct.unpack_from(">Q", data, content)[0]
            content += 8
        if size < content - start or start + size > end:
            return
        yield Box(kind, start, content, start + size)
        start += size


def children(data: Buffer, parent: Box, kind: bytes) -> Iterator[Box]:
    """The boxes of one kind directly inside `parent`."""
    return (box for box in boxes(data, parent.content, parent.end) if box.kind == kind)


def child(data: Buffer, parent: Box, *path: bytes) -> Box:
    """The first box at a path below `parent`.

    Raises:
        Mp4Error: there is none.
    """
    for kind in path:
        found = next(children(data, parent, kind), None)
        if found is None:
            raise Mp4Error(f"the MP4 has no {kind.decode('latin-1')} box where one belongs")
        parent = found
    return parent


def make(kind: bytes, *content: bytes) -> bytes:
    """A box with a 32-bit size."""
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def full_flags(data: Buffer, box: Box) -> tuple[int, int]:
    """(version, flags) of a full box."""
    word = struct.unpack_from(">I", data, box.content)[0]
    return word >> 24, word & 0xFFFFFF
