"""Our metadata in a spool file: a `free` box before the segment and one after it, which players skip."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

HEADER, FOOTER = b"VDTH", b"VDTF"  # told apart: a crash can leave a file that is nothing but its header
_LEAST = 16  # bytes of a box with nothing in it


def box(magic: bytes, meta: dict[str, Any]) -> bytes:
    """A box with our metadata; its last four bytes are its size, so that it can be found from the end of a file."""
    text = json.dumps(meta, separators=(",", ":")).encode()
    size = 8 + len(magic) + len(text) + 4
    return struct.pack(">I4s4s", size, b"free", magic) + text + struct.pack(">I", size)


def read_box(magic: bytes, data: memoryview, start: int, end: int) -> dict[str, Any] | None:
    """The metadata between two offsets, or None: that is no such box."""
    if end - start < _LEAST or bytes(data[start + 4 : start + 12]) != b"free" + magic:
        return None
    try:
        meta = json.loads(bytes(data[start + 12 : end - 4]))
    except ValueError:
        return None
    return meta if isinstance(meta, dict) else None


def read_footer(data: memoryview) -> dict[str, Any] | None:
    """The footer of a whole file, or None when it has none."""
    if len(data) < _LEAST:
        return None
    size = int(struct.unpack_from(">I", data, len(data) - 4)[0])
    return read_box(FOOTER, data, len(data) - size, len(data)) if _LEAST <= size <= len(data) else None


def payload_range(descriptor: int, size: int) -> tuple[dict[str, Any], int, int] | None:
    """(footer, where the segment begins, where it ends) of an open file of that size; None: it is no finished spool file.

    Raises:
        OSError: the disk refused.
    """
    if size < _LEAST:
        return None
    length = int.from_bytes(os.pread(descriptor, 4, size - 4), "big")
    if not _LEAST <= length <= size:
        return None
    footer = read_footer(memoryview(os.pread(descriptor, length, size - length)))
    begin = int.from_bytes(os.pread(descriptor, 4, 0), "big")  # the header's box
    return (footer, begin, size - length) if footer is not None and _LEAST <= begin <= size - length else None
