"""One segment as fragmented MP4, by stream copy, into a spool file."""

from __future__ import annotations

from typing import Any, Protocol

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from services.ingest.adapters.audio import AudioTrack
from shared.domain.errors import CameraStreamError
from shared.domain.media import VideoCodec

#: libav's write buffer. A fragment leaves in writes of this size: at 4 Mbit/s and a GOP of 1 s, two.
BUFFER_BYTES = 256 * 1024

_OPTIONS = {
    "movflags": "+".join(
        (
            "empty_moov",  # moov first and without samples: the segment can be written front to back, and played while it grows
            "default_base_moof",  # offsets count from the moof: fragments can be moved into another file (and MSE wants it)
            "frag_keyframe",  # a moof + mdat per GOP: what a power cut leaves is whole up to the last key frame
            "skip_trailer",  # no mfra index at the end: the next segment's fragments may follow
            "negative_cts_offsets",  # trun version 1: offsets are signed, and no edit list is needed for B-frames
        )
    ),
    "min_frag_duration": "900000",  # us; of all-intra streams (MJPEG) a second of frames makes a fragment, not each one
    "use_editlist": "0",  # tfdt starts at 0 and is all there is to say about time
    "video_track_timescale": "90000",  # RTP's clock: exact, and equal in all segments that share a file
    "avoid_negative_ts": "disabled",  # the recorder sets timestamps; libav must not move them
    "max_interleave_delta": "1000000",  # us; do not hold video for silent audio longer than this
    "flush_packets": "1",  # after each fragment (packets in between stay in the fragment's own buffer)
    "fflags": "+bitexact",  # no writing application in the file: equal input gives equal bytes
}


class Sink(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes) -> int: ...


class _WriteOnly:
    """A file object that offers nothing but write, so that libav does not seek."""

    def __init__(self, sink: Sink) -> None:
        self.write = sink.write

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


#: MP4 sample entries. hvc1: parameter sets in the moov, which Apple's players insist on.
_TAGS = {VideoCodec.H264: "avc1", VideoCodec.H265: "hvc1", VideoCodec.MJPEG: "mp4v"}


class SegmentMuxer:
    """Writes one segment. Packets come in decode order per stream, in 90 kHz ticks (video) and the audio stream's time base."""

    def __init__(
        self, sink: Sink, video: VideoStream, codec: VideoCodec, *, audio: AudioTrack | None, extradata: bytes | None, size: tuple[int, int]
    ) -> None:
        """`extradata`, `size`: the parameter sets and picture size in force, which may be newer than the stream's own."""
        self._container: OutputContainer = av.open(
            _WriteOnly(sink), "w", format="mp4", container_options=_OPTIONS, buffer_size=BUFFER_BYTES
        )
        out = self._container.add_stream_from_template(video, opaque=True)
        out.codec_context.codec_tag = _TAGS[codec]
        if extradata is not None and extradata != out.codec_context.extradata:
            out.codec_context.extradata = extradata
        if (out.codec_context.width, out.codec_context.height) != size:
            out.codec_context.width, out.codec_context.height = size
        self.video: Stream = out
        self.audio: Stream | None = None
        if audio is not None:
            self.audio = self._container.add_stream_from_template(audio.template, opaque=True)
            if audio.extradata != self.audio.codec_context.extradata:
                self.audio.codec_context.extradata = audio.extradata
        self._mux = self._container.mux_one
        try:
            self._container.start_encoding()
        except av.FFmpegError as error:
            self._container.close()
            raise CameraStreamError(
                f"this stream cannot be put into MP4: {error.strerror}", hint="`vedette camera probe` shows what the camera sends"
            ) from error

    def write(self, packet: Packet[Any], stream: Stream) -> None:
        """Add one packet, whose timestamps are final."""
        packet.stream = stream
        self._mux(packet)

    def close(self) -> None:
        """Write the last fragment. Idempotent."""
        self._container.close()
