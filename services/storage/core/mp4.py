"""Fragmented MP4 as storage needs it: the header, fragments moved to another place in time, and what of a torn file is whole.

Pure. Sources: ISO/IEC 14496-12, sections 8.8 (movie fragments) and 8.2-8.4 (headers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.storage.core.boxes import Box, Buffer, Mp4Error, boxes, child, children, full_flags, make

_U32_MAX = 0xFFFFFFFF
_NON_SYNC = 0x10000  # sample_is_non_sync_sample
_MEHD_BYTES = 20  # version 1: 64-bit duration


@dataclass(frozen=True, slots=True)
class Track:
    """A track of the header. `timescale`: ticks per second. The defaults are those of `trex`."""

    track_id: int
    handler: str
    timescale: int
    default_duration: int
    default_flags: int

    @property
    def is_video(self) -> bool:
        return self.handler == "vide"


@dataclass(frozen=True, slots=True)
class Header:
    """`ftyp` and `moov` of a file. `data`: their bytes. `timescale`: of the movie."""

    data: bytes
    timescale: int
    tracks: tuple[Track, ...]

    @property
    def video(self) -> Track:
        """The first video track (a header without one is refused)."""
        return next(track for track in self.tracks if track.is_video)

    def track(self, track_id: int) -> Track:
        for track in self.tracks:
            if track.track_id == track_id:
                return track
        raise Mp4Error(f"a fragment is of track {track_id}, which the header does not have")


@dataclass(frozen=True, slots=True)
class Run:
    """One `traf`. Times in the track's ticks; `tfdt_at`, `base_at`: where in the moof the decode time (and an absolute data offset) is."""

    track_id: int
    decode_time: int
    duration: int
    samples: int
    sync_samples: int
    first_sync: int  # index of the first sync sample, -1 without one
    first_sync_ticks: int  # from decode_time to it
    tfdt_at: int
    tfdt_wide: bool
    base_at: int | None


@dataclass(frozen=True, slots=True)
class Fragment:
    """One moof + mdat. `start`, `moof_end`, `end`: in the bytes that were parsed."""

    start: int
    moof_end: int
    end: int
    runs: tuple[Run, ...]

    def run(self, track_id: int) -> Run | None:
        return next((run for run in self.runs if run.track_id == track_id), None)


def parse_header(data: Buffer) -> Header:
    """The header at the start of an MP4.

    Raises:
        Mp4Error: there is no whole `moov`, it is not of a fragmented file, or it has no video.
    """
    for box in boxes(data):
        if box.kind == b"moov":
            return _header(data, box)
        if box.kind in (b"moof", b"mdat"):
            break
    raise Mp4Error("the MP4 does not begin with a header (ftyp, moov)")


def _header(data: Buffer, moov: Box) -> Header:
    mvhd = child(data, moov, b"mvhd")
    version, _ = full_flags(data, mvhd)
    timescale = struct.unpack_from(">I", data, mvhd.content + (20 if version == 1 else 12))[0]
    defaults: dict[int, tuple[int, int]] = {}
    for trex in children(data, child(data, moov, b"mvex"), b"trex"):
        _, track_id, _, duration, _, flags = struct.unpack_from(">6I", data, trex.content)
        defaults[track_id] = (duration, flags)
    tracks = tuple(_track(data, trak, defaults) for trak in children(data, moov, b"trak"))
    if not timescale or not any(track.is_video for track in tracks):
        raise Mp4Error("the MP4 has no video track")
    return Header(bytes(data[: moov.end]), timescale, tracks)


def _track(data: Buffer, trak: Box, defaults: Mapping[int, tuple[int, int]]) -> Track:
    tkhd = child(data, trak, b"tkhd")
    track_id = struct.unpack_from(">I", data, tkhd.content + (20 if full_flags(data, tkhd)[0] == 1 else 12))[0]
    mdhd = child(data, trak, b"mdia", b"mdhd")
    timescale = struct.unpack_from(">I", data, mdhd.content + (20 if full_flags(data, mdhd)[0] == 1 else 12))[0]
    hdlr = child(data, trak, b"mdia", b"hdlr")
    handler = bytes(data[hdlr.content + 8 : hdlr.content + 12]).decode("latin-1")
    if track_id not in defaults or not timescale:
        raise Mp4Error(f"track {track_id} is not one of a fragmented MP4")
    return Track(track_id, handler, timescale, *defaults[track_id])


def file_header(header: Header) -> bytes:
    """The header for a file that grows: with a `free` box in `mvex` that becomes `mehd` (the duration) when the file is closed."""
    data = header.data
    moov = next(box for box in boxes(data) if box.kind == b"moov")
    mvex = child(data, moov, b"mvex")
    kept = [data[box.start : box.end] for box in boxes(data, mvex.content, mvex.end) if box.kind not in (b"mehd", b"free")]
    new_mvex = make(b"mvex", make(b"free", bytes(_MEHD_BYTES - 8)), *kept)
    content = data[moov.content : mvex.start] + new_mvex + data[mvex.end : moov.end]
    return data[: moov.start] + make(b"moov", content)


def fragments(data: Buffer, header: Header, start: int = 0) -> Iterator[Fragment]:
    """The whole moof + mdat pairs from `start` on, whatever lies between them left out; stops before the first torn box.

    Raises:
        Mp4Error: a fragment contradicts the header.
    """
    moof: Box | None = None
    for box in boxes(data, start):
        if box.kind == b"moof":
            moof = box
        elif box.kind == b"mdat" and moof is not None:
            if moof.end != box.start:
                raise Mp4Error("a moof is not followed by its mdat")
            runs = tuple(_run(data, moof, traf, header) for traf in children(data, moof, b"traf"))
            yield Fragment(moof.start, moof.end, box.end, runs)
            moof = None


def _run(data: Buffer, moof: Box, traf: Box, header: Header) -> Run:
    tfhd, tfdt = child(data, traf, b"tfhd"), child(data, traf, b"tfdt")
    _, flags = full_flags(data, tfhd)
    track = header.track(struct.unpack_from(">I", data, tfhd.content + 4)[0])
    at = tfhd.content + 8
    base_at = at - moof.start if flags & 0x1 else None
    at += (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    duration, sample_flags = track.default_duration, track.default_flags
    if flags & 0x8:
        duration = struct.unpack_from(">I", data, at)[0]
        at += 4
    at += 4 if flags & 0x10 else 0
    if flags & 0x20:
        sample_flags = struct.unpack_from(">I", data, at)[0]
    wide = full_flags(data, tfdt)[0] == 1
    decode_time = struct.unpack_from(">Q" if wide else ">I", data, tfdt.content + 4)[0]
    durations: list[int] = []
    syncs: list[bool] = []
    for trun in children(data, traf, b"trun"):
        _samples(data, trun, duration, sample_flags, durations, syncs)
    first = syncs.index(True) if True in syncs else -1
    return Run(
        track.track_id, decode_time, sum(durations), len(durations), sum(syncs), first, sum(durations[: max(first, 0)]),
        tfdt.content + 4 - moof.start, wide, base_at,
    )  # fmt: skip


def _samples(data: Buffer, trun: Box, duration: int, sample_flags: int, durations: list[int], syncs: list[bool]) -> None:
    """Durations and sync flags of a `trun`'s samples are appended to the lists."""
    _, bits = full_flags(data, trun)
    count = struct.unpack_from(">I", data, trun.content + 4)[0]
    at = trun.content + 8 + (4 if bits & 0x1 else 0)
    first_flags = None
    if bits & 0x4:
        first_flags = struct.unpack_from(">I", data, at)[0]
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if bits & bit]
    width = len(fields)
    if at + 4 * width * count > trun.end:
        raise Mp4Error("a trun is shorter than its samples")
    if width * count == 0 and count > trun.end - trun.start + 1_000_000:
        raise Mp4Error("a trun of absurdly many samples")
    words = struct.unpack_from(f">{width * count}I", data, at)
    durations.extend(words[fields.index(0x100) :: width] if bits & 0x100 else [duration] * count)
    own = words[fields.index(0x400) :: width] if bits & 0x400 else [sample_flags] * count
    start = len(syncs)
    syncs.extend(not flags & _NON_SYNC for flags in own)
    if first_flags is not None and count:
        syncs[start] = not first_flags & _NON_SYNC


def moved(data: Buffer, fragment: Fragment, *, sequence: int, shift: Mapping[int, int], to: int) -> bytes:
    """The fragment's moof for another file.

    Args:
        sequence: its number there, from 1.
        shift: what to add to the decode times, by track id, in ticks.
        to: byte offset of the moof there.

    Raises:
        Mp4Error: a decode time does not fit into its field: the file is at its end.
    """
    moof = bytearray(data[fragment.start : fragment.moof_end])
    mfhd = next((box for box in boxes(moof, 8) if box.kind == b"mfhd"), None)
    if mfhd is None:
        raise Mp4Error("a fragment has no mfhd box")
    struct.pack_into(">I", moof, mfhd.content + 4, sequence & _U32_MAX)
    for run in fragment.runs:
        time = run.decode_time + shift.get(run.track_id, 0)
        if time < 0 or (not run.tfdt_wide and time > _U32_MAX):
            raise Mp4Error("the decode time does not fit")
        struct.pack_into(">Q" if run.tfdt_wide else ">I", moof, run.tfdt_at, time)
        if run.base_at is not None:
            base = struct.unpack_from(">Q", moof, run.base_at)[0]
            struct.pack_into(">Q", moof, run.base_at, base - fragment.start + to)
    return bytes(moof)
