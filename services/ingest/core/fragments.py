"""Just enough of ISO/IEC 14496-12 to know what of an interrupted segment is whole: boxes, and the sample tables of fragments."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HAS_DATA_OFFSET, _HAS_FIRST_FLAGS = 0x1, 0x4
_HAS_DURATION, _HAS_SIZE, _HAS_FLAGS, _HAS_CTS = 0x100, 0x200, 0x400, 0x800
_NON_SYNC = 0x10000  # sample_is_non_sync_sample
VIDEO_TRACK = 1  # the muxer adds video first


@dataclass(frozen=True, slots=True)
class Whole:
    """What is whole of a fragmented MP4. `end`: bytes; `ticks`: duration of the video track in its timescale."""

    end: int
    frames: int
    key_frames: int
    ticks: int


def boxes(data: memoryview, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int, int]]:
    """(type, start of the box, start of its content, end) of each box that is wholly inside; stops at the first that is not."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            size = struct.unpack_from(">Q", data, content)[0]
            content += 8
        if size < content - start or start + size > end:
            return
        yield bytes(kind), start, content, start + size
        start += size


def whole(data: memoryview) -> Whole:
    """The whole fragments at the start of an MP4 (ftyp, moov, then moof + mdat pairs); all zero when there is none."""
    result = Whole(0, 0, 0, 0)
    pending: tuple[int, int, int] | None = None
    for kind, _, content, end in boxes(data):
        if kind == b"moof":
            pending = _fragment(data, content, end)
        elif kind == b"mdat" and pending is not None:
            frames, keys, ticks = pending
            result = Whole(end, result.frames + frames, result.key_frames + keys, result.ticks + ticks)
            pending = None
    return result


def _fragment(data: memoryview, start: int, end: int) -> tuple[int, int, int]:
    frames = keys = ticks = 0
    for kind, _, content, stop in boxes(data, start, end):
        if kind == b"traf":
            counted = _track(data, content, stop)
            frames, keys, ticks = frames + counted[0], keys + counted[1], ticks + counted[2]
    return frames, keys, ticks


def _track(data: memoryview, start: int, end: int) -> tuple[int, int, int]:
    """(samples, sync samples, duration) of a traf, zeros when it is not the video's."""
    duration = flags = 0
    total = (0, 0, 0)
    for kind, _, content, _stop in boxes(data, start, end):
        if kind == b"tfhd":
            bits, track = struct.unpack_from(">II", data, content)
            if track != VIDEO_TRACK:
                return 0, 0, 0
            at = content + 8 + (8 if bits & 0x1 else 0) + (4 if bits & 0x2 else 0)
            if bits & 0x8:
                duration = struct.unpack_from(">I", data, at)[0]
                at += 4
            at += 4 if bits & 0x10 else 0
            flags = struct.unpack_from(">I", data, at)[0] if bits & 0x20 else 0
        elif kind == b"trun":
            counted = _run(data, content, duration, flags)
            total = (total[0] + counted[0], total[1] + counted[1], total[2] + counted[2])
    return total


def _run(data: memoryview, at: int, duration: int, flags: int) -> tuple[int, int, int]:
    bits, count = struct.unpack_from(">II", data, at)
    at += 8 + (4 if bits & _HAS_DATA_OFFSET else 0)
    first_flags = flags
    if bits & _HAS_FIRST_FLAGS:
        first_flags = struct.unpack_from(">I", data, at)[0]
        at += 4
    keys = ticks = 0
    for number in range(count):
        sample_flags = first_flags if number == 0 else flags
        sample_duration = duration
        if bits & _HAS_DURATION:
            sample_duration = struct.unpack_from(">I", data, at)[0]
            at += 4
        at += 4 if bits & _HAS_SIZE else 0
        if bits & _HAS_FLAGS:
            sample_flags = struct.unpack_from(">I", data, at)[0]
            at += 4
        at += 4 if bits & _HAS_CTS else 0
        ticks += sample_duration
        keys += not sample_flags & _NON_SYNC
    return count, keys, ticks
