"""Rows for a file that says nothing of itself: from its key and its bytes. Pure.

What is lost with the catalogue then: the ids of its segments, its camera's parameters, and whether it was alarm footage.
"""

from __future__ import annotations

import re
import struct

from services.storage.core.boxes import Box, Mp4Error, boxes, child, children
from services.storage.core.model import Kind, Recording, State, StoredSegment
from services.storage.core.mp4 import Header, Run, fragments, parse_header
from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id
from shared.domain.media import StreamKind, VideoCodec

_KEY = re.compile(
    r"^(?P<device>[a-z0-9_-]+)/(?P<channel>[a-z0-9_-]+)/\d{4}/\d\d/\d\d/\d\d/(?P<start>\d{1,19})(?:-(?P<stream>sub))?(?:-[0-9a-f]{8})?\.mp4$"
)
_CODECS = {
    b"avc1": VideoCodec.H264,
    b"avc3": VideoCodec.H264,
    b"hvc1": VideoCodec.H265,
    b"hev1": VideoCodec.H265,
    b"mp4v": VideoCodec.MJPEG,
    b"mjpg": VideoCodec.MJPEG,
    b"jpeg": VideoCodec.MJPEG,
}
_AUDIO = {b"mp4a": "aac"}


def is_recording_key(key: str) -> bool:
    """Whether an object of this key would be a recording of ours."""
    return _KEY.match(key) is not None


def salvage(key: str, data: bytes, channel_number: int, *, locked: bool) -> tuple[Recording, list[StoredSegment]]:
    """The rows of an uploaded file; a segment for each of its fragments, times reckoned from the key.

    Raises:
        Mp4Error: it is no recording of ours.
    """
    named = _KEY.match(key)
    if named is None:
        raise Mp4Error("its key is not that of a recording")
    try:
        header = parse_header(data)
        codec, width, height, audio = _formats(header)
        start_ns = int(named["start"])
        id_ = deterministic_id("recording", "salvaged", key)
        segments = _segments(id_, key, data, header, start_ns)
    except (struct.error, IndexError) as error:
        raise Mp4Error("a box is shorter than its content") from error
    recording = Recording(
        id=id_, device=named["device"], channel=named["channel"], channel_number=channel_number,
        stream=named["stream"] or StreamKind.MAIN.value, start_ns=segments[0].start_ns,
        end_ns=max(segment.end_ns for segment in segments), size_bytes=len(data),
        frames=sum(segment.frames for segment in segments), codec=codec, width=width, height=height, audio_codec=audio, parameters="",
        kind=Kind.GENERAL, state=State.UPLOADED, locked=locked, object_key=key, header_bytes=len(header.data),
    )  # fmt: skip
    return recording, segments


def _segments(recording_id: str, key: str, data: bytes, header: Header, start_ns: int) -> list[StoredSegment]:
    video, at = header.video, len(header.data)
    found: list[StoredSegment] = []
    for fragment in fragments(data, header, at):
        run = fragment.run(video.track_id)
        if fragment.start != at:
            raise Mp4Error("something else than footage lies in it")
        at = fragment.end
        first, last = _ticks(run, found)
        found.append(
            StoredSegment(
                id=deterministic_id("segment", "salvaged", key, len(found)), recording_id=recording_id, ordinal=len(found),
                offset=fragment.start, size_bytes=fragment.end - fragment.start, start_ns=start_ns + first * NS_PER_S // video.timescale,
                end_ns=start_ns + last * NS_PER_S // video.timescale, frames=run.samples if run else 0,
                key_frames=run.sync_samples if run else 0, base_ticks=first, duration_ticks=last - first, session="salvaged",
                sequence=len(found),
            )
        )  # fmt: skip
    if not any(segment.frames for segment in found):
        raise Mp4Error("it has no video frames")
    return found


def _ticks(run: Run | None, before: list[StoredSegment]) -> tuple[int, int]:
    """Where a fragment begins and ends on the video track; one without video: where the one before ends."""
    if run is None:
        end = before[-1].base_ticks + before[-1].duration_ticks if before else 0
        return end, end
    return run.decode_time, run.decode_time + run.duration


def _formats(header: Header) -> tuple[str, int, int, str]:
    """Codec, width and height of the video, codec of the audio (empty: none)."""
    data = header.data
    moov = next(box for box in boxes(data) if box.kind == b"moov")
    video, audio = None, ""
    for trak, track in zip(children(data, moov, b"trak"), header.tracks, strict=True):
        entry = _entry(data, trak)
        if track.is_video and video is None:
            codec = _CODECS.get(entry.kind)
            if codec is None:
                raise Mp4Error(f"its codec {entry.kind.decode('latin-1')!r} is none that is recorded")
            # VisualSampleEntry (12.1.3): 8 bytes of SampleEntry, 16 reserved, then width and height.
            video = (codec.value, *struct.unpack_from(">HH", data, entry.content + 24))
        elif track.handler == "soun":
            audio = _AUDIO.get(entry.kind, "")
    assert video is not None, "parse_header refuses files without video"
    return *video, audio


def _entry(data: bytes, trak: Box) -> Box:
    stsd = child(data, trak, b"mdia", b"minf", b"stbl", b"stsd")
    entry = next(boxes(data, stsd.content + 8, stsd.end), None)
    if entry is None:
        raise Mp4Error("a track has no sample description")
    return entry
