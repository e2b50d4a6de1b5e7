"""Placing segments into files: which file, at which byte, at which decode time. Pure: bytes in, bytes to write out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.storage.core.boxes import Buffer, Mp4Error, boxes
from services.storage.core.files import FileSoFar, NextSegment, cut
from services.storage.core.model import Kind, Recording, State, StoredSegment, object_key, recording_id
from services.storage.core.mp4 import Fragment, Header, file_header, fragments, moved, parse_header
from services.storage.core.recording import kind_of_file
from shared.messages import SegmentMessage

#: What footage of a time is kept as; None: it is not recorded.
KindOf = Callable[[int, int], Kind | None]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that grows, as of its last catalogued segment. `ends`: where each track ends, in its ticks."""

    recording: Recording
    session: str
    last_sequence: int
    segments: int
    fragments: int
    video_ticks: int
    ends: dict[int, int]


@dataclass(slots=True)
class Placed:
    """What becomes of some segments of one channel.

    Attributes:
        file: the file that is open afterwards.
        bucket: of files that begin here.
        ended: recordings that take no more segments.
        changed: recordings as they now are, by id; `new`: ids of those that begin here.
        writes: per recording id: at which byte, and what.
        refused: segments that cannot be stored, with the reason.
        unwanted: how many are not recorded.
    """

    file: OpenFile | None
    bucket: str = ""
    ended: list[str] = field(default_factory=list)
    changed: dict[str, Recording] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    added: list[StoredSegment] = field(default_factory=list)
    writes: dict[str, tuple[int, list[Buffer]]] = field(default_factory=dict)
    refused: list[tuple[SegmentMessage, str]] = field(default_factory=list)
    unwanted: int = 0


def place(file: OpenFile | None, messages: Iterable[SegmentMessage], kind_of: KindOf, file_s: float, bucket: str = "") -> Placed:
    """Place segments of one channel and stream, in order, behind `file`. `bucket`: of files that begin here."""
    placed = Placed(file, bucket)
    for message in messages:
        kind = kind_of(message.start_ns, message.end_ns)
        if kind is None:
            placed.unwanted += 1
            continue
        try:
            header = parse_header(message.payload)
            found = list(fragments(message.payload, header, len(header.data)))
            _check(message, header, found)
            _place_one(placed, message, header, found, kind, file_s)
        except Mp4Error as error:
            placed.refused.append((message, error.what))
        except (struct.error, IndexError):
            placed.refused.append((message, "a box of the MP4 is shorter than its content"))
    return placed


def _check(message: SegmentMessage, header: Header, found: Sequence[Fragment]) -> None:
    if not found or not any(run.track_id == header.video.track_id and run.samples for part in found for run in part.runs):
        raise Mp4Error("the segment has no video frames")
    rest = [box.end for box in boxes(message.payload, found[-1].end)]
    if [found[-1].end, *rest][-1] != len(message.payload):
        raise Mp4Error("the segment ends in the middle of a box")


def _place_one(placed: Placed, message: SegmentMessage, header: Header, found: Sequence[Fragment], kind: Kind, file_s: float) -> None:
    file = placed.file
    so_far = None if file is None else _so_far(file)
    following = NextSegment(
        message.start_ns,
        message.end_ns,
        message.parameters,
        message.session,
        message.sequence,
        message.discontinuity,
        message.continues,
        kind,
    )
    if file is None or cut(so_far, following, file_s) is not None:
        _begin(placed, message, header, found, kind)
        return
    try:
        _go_on(placed, file, message, header, found, kind)
    except Mp4Error:  # the decode time has outgrown its field: this file is at its end
        _begin(placed, message, header, found, kind)


def _so_far(file: OpenFile) -> FileSoFar:
    recording = file.recording
    return FileSoFar(recording.start_ns, recording.end_ns, recording.parameters, file.session, file.last_sequence, recording.kind)


def _begin(placed: Placed, message: SegmentMessage, header: Header, found: Sequence[Fragment], kind: Kind) -> None:
    start = file_header(header)
    new_id = recording_id(message.segment_id)
    recording = Recording(
        id=new_id, device=message.device, channel=message.channel, channel_number=message.channel_number, stream=message.stream.value,
        start_ns=message.start_ns, end_ns=message.start_ns, size_bytes=len(start), frames=0, codec=message.codec.value,
        width=message.width, height=message.height, audio_codec=message.audio_codec or "", parameters=message.parameters, kind=kind,
        state=State.OPEN, locked=False, object_key=object_key(message.device, message.channel, message.stream.value, message.start_ns),
        header_bytes=len(start), bucket=placed.bucket,
    )  # fmt: skip
    empty = OpenFile(recording, message.session, message.sequence - 1, 0, 0, 0, {})
    old = placed.file
    _go_on(placed, empty, message, header, found, kind, start)
    placed.new.append(new_id)
    if old is not None:
        placed.ended.append(old.recording.id)


def _go_on(
    placed: Placed, file: OpenFile, message: SegmentMessage, header: Header, found: Sequence[Fragment], kind: Kind, start: bytes = b""
) -> None:
    recording, video = file.recording, header.video
    shift = _shifts(file, header, found)
    at, ends, ticks, frames, keys = recording.size_bytes, dict(file.ends), 0, 0, 0
    buffers: list[Buffer] = [start] if start else []
    payload = memoryview(message.payload)
    for number, fragment in enumerate(found, file.fragments + 1):
        buffers += [moved(payload, fragment, sequence=number, shift=shift, to=at), payload[fragment.moof_end : fragment.end]]
        at += fragment.end - fragment.start
        for run in fragment.runs:
            ends[run.track_id] = run.decode_time + shift[run.track_id] + run.duration
            if run.track_id == video.track_id:
                ticks, frames, keys = ticks + run.duration, frames + run.samples, keys + run.sync_samples
    placed.added.append(
        StoredSegment(
            message.segment_id,
            recording.id,
            file.segments,
            recording.size_bytes,
            at - recording.size_bytes,
            message.start_ns,
            message.end_ns,
            frames,
            keys,
            file.video_ticks,
            ticks,
            message.session,
            message.sequence,
        )
    )
    grown = replace(
        recording, end_ns=max(recording.end_ns, message.end_ns), size_bytes=at, frames=recording.frames + frames,
        kind=kind_of_file(recording.kind, kind),
    )  # fmt: skip
    first, before = placed.writes.get(recording.id, (0 if start else recording.size_bytes, []))
    placed.writes[recording.id] = (first, before + buffers)
    placed.changed[recording.id] = grown
    placed.file = OpenFile(
        grown, message.session, message.sequence, file.segments + 1, file.fragments + len(found), file.video_ticks + ticks, ends
    )


def _shifts(file: OpenFile, header: Header, found: Sequence[Fragment]) -> dict[int, int]:
    """What to add to each track's decode times: the segment begins where the video so far ends, and no track goes back."""
    video = header.video
    first: dict[int, int] = {}
    for fragment in found:
        for run in fragment.runs:
            first.setdefault(run.track_id, run.decode_time)
    base = file.video_ticks - first[video.track_id]
    shifts = {}
    for track in header.tracks:
        shift = base * track.timescale // video.timescale
        begins = first.get(track.track_id, 0)
        shifts[track.track_id] = max(shift, file.ends.get(track.track_id, 0) - begins)
    return shifts
