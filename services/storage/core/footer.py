"""What a closed file says of itself: its rows of the catalogue, in a `uuid` box behind its footage. A lost catalogue is made again from it.

Pure. The box (ISO/IEC 14496-12, 11.1; players pass it over) lies right before the index (`mfra`) and ends with its own size, so that it is
found from the end of the file.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, fields

from services.storage.core.boxes import make
from services.storage.core.model import Kind, Recording, State, StoredSegment

#: How much of a file's end holds its footer and index, with room to spare: about 200 bytes a segment.
TAIL_BYTES = 64 * 1024
_UUID = bytes.fromhex("7665646574746500a1d14f3a52c8e0b7")
_MARK = b"vdtt"
_VERSION = 1
_SEGMENT_FIELDS = [field.name for field in fields(StoredSegment) if field.name != "recording_id"]


def footer(recording: Recording, segments: Sequence[StoredSegment]) -> bytes:
    """The box. What is known only of the whole file (size, digest, state) or may change (lock) is not in it."""
    known = {name: value for name, value in asdict(recording).items() if name not in ("size_bytes", "sha256", "state", "locked")}
    rows = [[getattr(segment, name) for name in _SEGMENT_FIELDS] for segment in segments]
    body = zlib.compress(json.dumps({"version": _VERSION, "recording": known, "fields": _SEGMENT_FIELDS, "segments": rows}).encode())
    size = 8 + len(_UUID) + len(body) + 8
    return make(b"uuid", _UUID, body, struct.pack(">I4s", size, _MARK))


def parse_footer(tail: bytes, size_bytes: int, state: State, *, locked: bool) -> tuple[Recording, list[StoredSegment]] | None:
    """The rows of a file; None: it has no footer.

    Args:
        tail: the end of the file, `TAIL_BYTES` or all of it; `size_bytes`: of the file.
    """
    body = _body(tail)
    if body is None:
        return None
    try:
        found = json.loads(zlib.decompress(body))
        if found["version"] != _VERSION:
            return None
        known = {**found["recording"], "kind": Kind(found["recording"]["kind"])}
        recording = Recording(**known, size_bytes=size_bytes, state=state, locked=locked)
        segments = [StoredSegment(recording_id=recording.id, **dict(zip(found["fields"], row, strict=True))) for row in found["segments"]]
    except (zlib.error, ValueError, KeyError, TypeError):
        return None
    return (recording, segments) if segments else None


def _body(tail: bytes) -> bytes | None:
    if len(tail) < 16 or tail[-12:-8] != b"mfro":
        return None
    end = len(tail) - struct.unpack(">I", tail[-4:])[0]
    if end < 40 or tail[end - 4 : end] != _MARK:
        return None
    start = end - struct.unpack_from(">I", tail, end - 8)[0]
    if start < 0 or tail[start + 4 : start + 8] != b"uuid" or tail[start + 8 : start + 24] != _UUID:
        return None
    return tail[start + 24 : end - 8]
