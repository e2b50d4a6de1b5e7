"""Segments as ingest makes them, from pictures encoded on the spot: whole groups of pictures, each a fragmented MP4 of its own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from av.packet import Packet

from shared.domain.clock import NS_PER_S
from shared.domain.ids import deterministic_id
from shared.domain.media import StreamKind, VideoCodec
from shared.messages import Discontinuity, SegmentMessage

START_NS = 1_760_000_000 * NS_PER_S
FPS = 10
TICKS = 90_000 // FPS
_ENCODERS = {VideoCodec.H264: "libx264", VideoCodec.H265: "libx265", VideoCodec.MJPEG: "mjpeg"}
_TAGS = {VideoCodec.H264: "avc1", VideoCodec.H265: "hvc1", VideoCodec.MJPEG: "mp4v"}
_OPTIONS = {
    VideoCodec.H264: {"preset": "ultrafast", "tune": "zerolatency", "threads": "1"},
    VideoCodec.H265: {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:pools=1:frame-threads=1:keyint=10:min-keyint=10"},
    VideoCodec.MJPEG: {},
}
_MUX = {
    "movflags": "empty_moov+default_base_moof+frag_keyframe+skip_trailer+negative_cts_offsets",
    "min_frag_duration": "900000",
    "use_editlist": "0",
    "video_track_timescale": "90000",
    "fflags": "+bitexact",
}


_KEPT: list[Any] = []


@cache
def payloads(
    count: int,
    codec: VideoCodec = VideoCodec.H264,
    *,
    gop: int = 10,
    audio: bool = False,
    size: tuple[int, int] = (192, 108),
    kbit: int = 200,
) -> tuple[bytes, ...]:
    """`count` segments of one group of `gop` pictures each. Picture `n` has the luma value `level(n)` all over."""
    video, packets = _video(codec, count * gop, gop, size, kbit)
    sound, sounds = _audio(count * gop / FPS) if audio else (None, [])
    result = []
    for number in range(count):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4", container_options=_MUX) as container:
            stream = container.add_stream_from_template(video)
            stream.codec_context.codec_tag = _TAGS[codec]
            tone = container.add_stream_from_template(sound) if sound is not None else None
            container.start_encoding()
            mine: list[tuple[float, Packet[Any]]] = []
            for packet in packets[number * gop : (number + 1) * gop]:
                mine.append((_pts(packet) / 90_000, _moved(packet, stream, number * gop * TICKS, Fraction(1, 90_000))))
            if tone is not None:
                begin = round(number * gop / FPS * 16_000)
                end = round((number + 1) * gop / FPS * 16_000)
                for packet in sounds:
                    if begin <= _pts(packet) < end:
                        mine.append((_pts(packet) / 16_000, _moved(packet, tone, begin, Fraction(1, 16_000))))
            for _, packet in sorted(mine, key=lambda item: item[0]):
                container.mux_one(packet)
        result.append(buffer.getvalue())
    return tuple(result)


def level(number: int) -> int:
    """Luma of picture `number`, 40 to 215 so that neighbours differ by 5 and survive coding."""
    return 40 + (number * 5) % 176


def _pts(packet: Packet[Any]) -> int:
    assert packet.pts is not None
    return packet.pts


def _moved(packet: Packet[Any], stream: Any, shift: int, base: Fraction) -> Packet[Any]:
    moved: Packet[Any] = Packet(bytes(packet))
    moved.pts = moved.dts = _pts(packet) - shift
    moved.duration, moved.time_base, moved.stream, moved.is_keyframe = packet.duration, base, stream, packet.is_keyframe
    return moved


@cache
def _video(codec: VideoCodec, frames: int, gop: int, size: tuple[int, int], kbit: int) -> tuple[Any, list[Packet[Any]]]:
    file = io.BytesIO()
    container = av.open(file, "w", format="mp4", container_options={"video_track_timescale": "90000"})
    stream: Any = container.add_stream(_ENCODERS[codec], rate=FPS, options=_OPTIONS[codec])
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec is VideoCodec.MJPEG else "yuv420p"
    stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, 0
    stream.codec_context.time_base = Fraction(1, 90_000)
    stream.bit_rate = kbit * 1000
    noise = np.random.default_rng(1)
    for number in range(frames):
        luma = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
        luma[: size[1]] = level(number)
        if kbit > 1000:  # something to spend bits on, but for a band that keeps the level
            luma[size[1] // 4 : size[1]] = noise.integers(16, 235, (size[1] - size[1] // 4, size[0]), np.uint8)
        frame = av.VideoFrame.from_ndarray(luma, format="yuv420p").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = number * TICKS, Fraction(1, 90_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return _read_back(file)


def _read_back(file: io.BytesIO) -> tuple[Any, list[Packet[Any]]]:
    """What was muxed, as from a camera: a template with its parameter sets, and packets."""
    file.seek(0)
    source: Any = av.open(file, "r")
    _KEPT.append(source)  # the template lives as long as its container
    stream = source.streams[0]
    return stream, [packet for packet in source.demux(stream) if packet.size]


@cache
def _audio(seconds: float) -> tuple[Any, list[Packet[Any]]]:
    file = io.BytesIO()
    container = av.open(file, "w", format="mp4")
    stream: Any = container.add_stream("aac", rate=16_000, layout="mono")
    for start in range(0, round(seconds * 16_000), 1024):
        wave = (np.sin(np.arange(start, start + 1024) * 2 * np.pi * 440 / 16_000) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return _read_back(file)


@dataclass
class Feed:
    """One channel's segments, one after the other in time. Payloads come again from the start when they are used up."""

    channel: str = "door"
    number: int = 1
    device: str = "vedette"
    codec: VideoCodec = VideoCodec.H264
    stream: StreamKind = StreamKind.MAIN
    session: str = "session-1"
    parameters: str = "p1"
    gop: int = 10
    audio: bool = False
    size: tuple[int, int] = (192, 108)
    at_ns: int = START_NS
    sequence: int = 0
    made: list[SegmentMessage] = field(default_factory=list)
    pool: Sequence[bytes] = ()

    def next(
        self, *, discontinuity: Discontinuity = Discontinuity.NONE, continues: bool = False, payload: bytes | None = None
    ) -> SegmentMessage:
        """The next segment; it lasts `gop / FPS` seconds."""
        pool = self.pool or payloads(12, self.codec, gop=self.gop, audio=self.audio, size=self.size)
        payload = pool[self.sequence % len(pool)] if payload is None else payload
        length_ns = self.gop * NS_PER_S // FPS
        message = SegmentMessage(
            channel=self.channel, channel_number=self.number, device=self.device, stream=self.stream,
            segment_id=deterministic_id(self.device, self.channel, self.stream.value, self.session, self.sequence), session=self.session,
            sequence=self.sequence, start_ns=self.at_ns, end_ns=self.at_ns + length_ns, duration_ns=length_ns, frames=self.gop,
            key_frames=0 if continues else 1, size_bytes=len(payload), codec=self.codec, width=self.size[0], height=self.size[1],
            audio_codec="aac" if self.audio else None, parameters=self.parameters, continues=continues, discontinuity=discontinuity,
            sha256=hashlib.sha256(payload).hexdigest(), payload=payload,
        )  # fmt: skip
        self.at_ns += length_ns
        self.sequence += 1
        self.made.append(message)
        return message

    def take(self, count: int) -> Iterator[SegmentMessage]:
        for _ in range(count):
            yield self.next()
