"""What closing a file adds: the index at its end (`mfra`) and the durations in its header.

Pure. Source: ISO/IEC 14496-12, sections 8.8.2 (mehd) and 8.8.9-8.8.11 (mfra, tfra, mfro).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.storage.core.boxes import Box, boxes, child, children, full_flags, make
from services.storage.core.mp4 import Fragment, Header

_U32_MAX = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to write at an offset of the file."""

    at: int
    data: bytes


def random_access_index(found: Iterable[Fragment], header: Header) -> bytes:
    """An `mfra` with an entry for the first sync sample of each fragment of each track."""
    entries: dict[int, list[bytes]] = {track.track_id: [] for track in header.tracks}
    for fragment in found:
        for number, run in enumerate(fragment.runs, 1):
            if run.first_sync >= 0:
                time = run.decode_time + run.first_sync_ticks
                entries[run.track_id].append(struct.pack(">QQIII", time, fragment.start, number, 1, run.first_sync + 1))
    # Version 1: 64-bit times and offsets; 0x3F: traf, trun and sample numbers take 4 bytes each.
    tables = [make(b"tfra", struct.pack(">IIII", 1 << 24, track_id, 0x3F, len(rows)), *rows) for track_id, rows in entries.items() if rows]
    size = 8 + sum(map(len, tables)) + 16
    return make(b"mfra", *tables, make(b"mfro", struct.pack(">II", 0, size)))


def track_ends(found: Iterable[Fragment]) -> dict[int, int]:
    """Where each track ends, in its ticks."""
    ends: dict[int, int] = {}
    for fragment in found:
        for run in fragment.runs:
            ends[run.track_id] = max(ends.get(run.track_id, 0), run.decode_time + run.duration)
    return ends


def duration_patches(data: bytes, header: Header, ends: Mapping[int, int]) -> list[Patch]:
    """Durations for `mvhd`, `tkhd`, `mdhd` and `mehd`. The header keeps its length: `file_header` left room.

    Args:
        data: the file's header, as it is in the file.
        ends: of each track in its own ticks.
    """
    moov = next(box for box in boxes(data) if box.kind == b"moov")
    movie: dict[int, int] = {}
    patches = []
    for trak, track in zip(children(data, moov, b"trak"), header.tracks, strict=True):
        ticks = ends.get(track.track_id, 0)
        movie[track.track_id] = -(-ticks * header.timescale // track.timescale)
        patches.append(_duration(data, child(data, trak, b"tkhd"), 20, movie[track.track_id]))
        patches.append(_duration(data, child(data, trak, b"mdia", b"mdhd"), 16, ticks))
    longest = max(movie.values())
    patches.append(_duration(data, child(data, moov, b"mvhd"), 16, longest))
    mvex = child(data, moov, b"mvex")
    first = next(boxes(data, mvex.content, mvex.end))
    if first.kind in (b"free", b"mehd") and first.end - first.start == 20:
        patches.append(Patch(first.start, make(b"mehd", struct.pack(">IQ", 1 << 24, longest))))
    return patches


def _duration(data: bytes, box: Box, at: int, value: int) -> Patch:
    """`at`: of the duration in version 0; in version 1 the two times before it are 4 bytes wider each."""
    if full_flags(data, box)[0] == 1:
        return Patch(box.content + at + 8, struct.pack(">Q", value))
    return Patch(box.content + at, struct.pack(">I", min(value, _U32_MAX)))
