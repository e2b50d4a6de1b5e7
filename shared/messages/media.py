"""Messages that carry video: segments for storage, frames for analysis, and the state of a channel."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, Field

from shared.domain.media import Picture, StreamKind, VideoCodec
from shared.messages.base import ChannelMessage, UtcNs


class Discontinuity(StrEnum):
    """Why a segment does not continue the one before it."""

    NONE = "none"
    START = "start"  # first segment of an ingest session
    RECONNECT = "reconnect"  # the camera was away
    TIMESTAMP_JUMP = "timestamp_jump"  # the camera's timestamps jumped or went back
    CLOCK_JUMP = "clock_jump"  # this machine's clock was set
    CODEC_CHANGE = "codec_change"  # other codec, size or parameter sets
    LOSS = "loss"  # packets were lost or corrupt; the segment starts at the next key frame


class SegmentMessage(ChannelMessage):
    """A few whole groups of pictures of one stream: one fragmented MP4 that plays on its own.

    Attributes:
        device: the device that read the camera.
        segment_id: deterministic: (device, channel, stream, session, sequence).
        session: one connection of ingest to the camera; `sequence` counts from 0 within it, without gaps.
        start_ns: capture time of the first frame (see docs/design/time.md). `end_ns`: of the end of the last frame.
        duration_ns: media duration by the camera's timestamps; `end_ns - start_ns` differs from it only by clock steering.
        frames: video frames (access units) in it. `key_frames`: how many of them are key frames.
        cut: the group of pictures was longer than the limits and was cut; the next segment does not start with a key frame.
        continues: this segment starts with no key frame, because the one before it was cut.
        discontinuity: why it does not continue the segment before it.
        parameters: digest of codec, size and parameter sets: equal for segments that can share one file.
        sha256: hex digest of the payload.
        payload: the MP4 bytes: ftyp, moov, then one or more moof+mdat.
    """

    payload_field: ClassVar[str | None] = "payload"

    device: str
    stream: StreamKind
    segment_id: str
    session: str
    sequence: int = Field(ge=0)
    start_ns: UtcNs
    end_ns: UtcNs
    duration_ns: int = Field(ge=0)
    frames: int = Field(ge=0)
    key_frames: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    codec: VideoCodec
    width: int = Field(ge=1, description="pixels")
    height: int = Field(ge=1, description="pixels")
    audio_codec: str | None = None
    parameters: str
    cut: bool = False
    continues: bool = False
    discontinuity: Discontinuity = Discontinuity.NONE
    sha256: str
    payload: bytes = Field(repr=False)


class FrameMessage(ChannelMessage):
    """One sampled frame at analysis size.

    Attributes:
        session, sequence: as of segments, but counted per frame.
        capture_ns: when the camera took it. `published_ns`: when ingest published it, by this site's clock: staleness is
            measured from here, so that a camera with a wrong clock is analysed all the same.
        source_width, source_height: size in pixels of the decoded stream that it was made from.
        picture: pixels by reference in one process; JPEG bytes across a broker.
    """

    payload_field: ClassVar[str | None] = "picture"

    session: str
    sequence: int = Field(ge=0)
    capture_ns: UtcNs
    published_ns: UtcNs
    source_width: int
    source_height: int
    picture: Picture = Field(repr=False)


class ChannelState(StrEnum):
    """What a channel's ingest is doing."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"  # the last attempt failed or the stream ended; trying again
    DISABLED = "disabled"


class _StreamState(ChannelMessage):
    """What ingest is doing for a stream; the head of `ChannelStatus`, in the order of the wire form."""

    device: str
    stream: StreamKind = StreamKind.MAIN
    state: ChannelState
    reason: str = ""
    error: str = ""
    since_ns: UtcNs
    at_ns: UtcNs


class StreamFacts(BaseModel):
    """What is measured of a channel's stream.

    Attributes:
        spool_bytes: durable bytes on this device that storage has not yet taken.
        dropped_frames: frames that were not analysed because newer ones were there.
        lost_segments: segments given up because the spool was full (they are gone).
    """

    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate_bps: float = 0.0
    reconnects: int = 0
    spool_bytes: int = 0
    spool_segments: int = 0
    dropped_frames: int = 0
    lost_segments: int = 0


class ChannelStatus(StreamFacts, _StreamState):
    """The state of one channel, published at every change and every few seconds.

    Attributes:
        reason: for people, without secrets; empty when online.
        error: name of the error class (shared/domain/errors.py) or empty.
        since_ns: when this state began.
    """
