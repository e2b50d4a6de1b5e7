"""The full-resolution picture of a moment, decoded from recorded footage."""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.frame import VideoFrame

from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.reader import Reader
from services.storage.core.boxes import Mp4Error
from services.storage.core.model import Recording, StoredSegment
from services.storage.core.mp4 import parse_header
from services.storage.core.waiting import overtaken
from shared.domain.clock import NS_PER_S
from shared.domain.errors import VedetteError
from shared.domain.media import StreamKind

#: Footage further than this from the moment does not show it.
NEAR_NS = 2 * NS_PER_S
_QUALITY = 3  # of the JPEG encoder: 2 (best) to 31
_LIMITED, _FULL = 1, 2  # libav's colour ranges (AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG)


class NoPicture(VedetteError):
    """There is no footage of the moment, or it shows nothing."""


@dataclass(frozen=True, slots=True)
class _Place:
    recording: Recording
    segments: Sequence[StoredSegment]
    index: int

    @property
    def segment(self) -> StoredSegment:
        return self.segments[self.index]


class Pictures:
    """Finds and decodes frames of the recorded main stream."""

    def __init__(self, catalogue: Catalogue, reader: Reader) -> None:
        self._catalogue, self._reader = catalogue, reader

    async def take(self, channel: str, at_ns: int, session: str = "") -> bytes:
        """JPEG of the frame nearest to the capture time `at_ns`, as large as it was recorded.

        Args:
            session: the one that is recorded now, where it is known: of footage that was stored twice for one time, its is the later.

        Raises:
            NoPicture: there is none within `NEAR_NS`, or it cannot be decoded.
            ObjectStoreError: the footage cannot be read now.
        """
        place = await self._find(channel, at_ns, session)
        if place is None:
            raise NoPicture("there is no footage of that moment")
        first = place.index
        while first > 0 and place.segments[first].key_frames == 0:  # it goes on with a group of pictures that was cut
            first -= 1
        begin, end = place.segments[first], place.segment
        header = await self._reader.bytes(place.recording, 0, place.recording.header_bytes)
        body = await self._reader.bytes(place.recording, begin.offset, end.end)
        return await asyncio.to_thread(_decode, header, body, end, at_ns)

    async def _find(self, channel: str, at_ns: int, session: str) -> _Place | None:
        """The segment that is nearest to the moment."""
        near: list[tuple[int, _Place]] = []
        for recording in await self._catalogue.between(channel, at_ns - NEAR_NS, at_ns + NEAR_NS, limit=16, provisional=True):
            if recording.stream != StreamKind.MAIN.value:
                continue
            segments = await self._catalogue.segments_of(recording.id)
            for index, segment in enumerate(segments):
                away = max(segment.start_ns - at_ns, at_ns - segment.end_ns, 0)
                if away <= NEAR_NS:
                    near.append((away, _Place(recording, segments, index)))
        found = [place.segment for _, place in near]
        near = [(away, place) for away, place in near if not overtaken(place.segment, found, session)]
        # At a seam the later one: its first frame is of that moment.
        return min(near, key=lambda item: (item[0], -item[1].segment.start_ns))[1] if near else None


def _decode(header: bytes, body: bytes, segment: StoredSegment, at_ns: int) -> bytes:
    """The frame nearest to `at_ns`: media time within the segment, stretched to its capture times (clock steering).

    Raises:
        NoPicture: nothing can be decoded: the bytes are not what was stored, or the camera's stream was damaged.
    """
    try:
        timescale = parse_header(header).video.timescale
        into = (at_ns - segment.start_ns) / max(1, segment.end_ns - segment.start_ns)
        frame = _nearest(header + body, (segment.base_ticks + into * segment.duration_ticks) / timescale)
        if frame is None:
            raise NoPicture("the footage has no picture that can be decoded")
        return _jpeg(frame)
    except Mp4Error as error:
        raise NoPicture(f"the footage cannot be decoded: {error.what}") from error
    except av.FFmpegError as error:
        raise NoPicture(f"the footage cannot be decoded: {error.strerror}") from error
    except (struct.error, IndexError) as error:
        raise NoPicture("the footage cannot be decoded: a box of the MP4 is shorter than its content") from error


def _nearest(data: bytes, wanted_s: float) -> VideoFrame | None:
    """The frame nearest to a time of the file; of a stream that breaks off, what came before."""
    best: VideoFrame | None = None
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                if best is None or abs(frame.time - wanted_s) < abs(best.time - wanted_s):
                    best = frame
                elif frame.time > wanted_s + NEAR_NS / NS_PER_S:
                    break
        except av.FFmpegError:
            if best is None:
                raise
    return best


def _jpeg(frame: VideoFrame) -> bytes:
    full = frame.reformat(format="yuvj420p", src_color_range=frame.color_range or _LIMITED, dst_color_range=_FULL)
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = full.width, full.height, "yuvj420p"
    context.color_range = _FULL
    context.time_base = Fraction(1, 25)  # of one picture: anything
    context.qmin = context.qmax = _QUALITY
    full.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(full), *context.encode(None)])
