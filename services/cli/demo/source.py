"""A media file made ready to be sent: demuxed once, cut into RTP payloads once, shared by all clients in memory."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from services.cli.demo.parameter_sets import parameter_sets
from services.cli.demo.rtp import RtpPayload, VideoPacketizer, aac_payload, jpeg_with_two_tables
from shared.domain.clock import NS_PER_S
from shared.domain.errors import CameraStreamError

_G711_CHUNK_SAMPLES = 160  # 20 ms at 8 kHz: the default packet of RFC 3551


class Codec(enum.StrEnum):
    """What the simulator can put on the wire."""

    H264 = "h264"
    H265 = "h265"
    MJPEG = "mjpeg"
    AAC = "aac"
    PCMU = "pcmu"
    PCMA = "pcma"

    @property
    def is_video(self) -> bool:
        """Video, as against audio."""
        return self in (Codec.H264, Codec.H265, Codec.MJPEG)


_BY_FFMPEG_NAME = {
    "h264": Codec.H264,
    "hevc": Codec.H265,
    "mjpeg": Codec.MJPEG,
    "aac": Codec.AAC,
    "pcm_mulaw": Codec.PCMU,
    "pcm_alaw": Codec.PCMA,
}


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """One elementary stream. `clock_rate` in Hz; `config` is the codec's extradata; `channels` 0 for video."""

    codec: Codec
    payload_type: int
    clock_rate: int
    config: bytes
    channels: int = 0

    @property
    def parameter_sets(self) -> tuple[bytes, ...]:
        """VPS, SPS, PPS of H.264 and H.265; nothing for others."""
        return parameter_sets(self.config, self.codec) if self.codec in (Codec.H264, Codec.H265) else ()

    def ticks(self, media_ns: int) -> int:
        """RTP clock ticks of a media time."""
        return (media_ns * self.clock_rate + NS_PER_S // 2) // NS_PER_S


@dataclass(frozen=True, slots=True)
class MediaFrame:
    """One access unit, ready to send. Times are nanoseconds from the first picture's PTS; `index` counts per track."""

    track: int
    index: int
    dts_ns: int
    pts_ns: int
    key: bool
    payloads: tuple[RtpPayload, ...]


@dataclass(frozen=True, slots=True)
class MediaSource:
    """A file's tracks and its frames in DTS order. A loop repeats every `duration_ns`."""

    file: Path
    tracks: tuple[MediaTrack, ...]
    frames: tuple[MediaFrame, ...]
    duration_ns: int

    @property
    def video_frames(self) -> int:
        """How many pictures one pass sends."""
        return sum(1 for frame in self.frames if self.tracks[frame.track].codec.is_video)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A demuxed access unit before time is made relative. Times in nanoseconds of the file."""

    dts_ns: int
    pts_ns: int
    duration_ns: int
    key: bool
    payloads: tuple[RtpPayload, ...]


def load_source(file: Path) -> MediaSource:
    """Read and packetise a file: its first video track and its first audio track.

    Blocking, and holds the whole file in memory: meant for clips (a minute of 4 Mbit/s is 30 MB).

    Raises:
        CameraStreamError: not a media file, no frames, or a codec that RTP cannot carry as it is.
    """
    try:
        with av.open(str(file)) as container:
            return _read(file, container)
    except (av.error.FFmpegError, OSError) as error:
        raise CameraStreamError(f"cannot be served: {error.strerror or error}", where=file.name) from error


def _read(file: Path, container: InputContainer) -> MediaSource:
    streams: list[VideoStream | AudioStream] = [*container.streams.video[:1], *container.streams.audio[:1]]
    tracks = tuple(_track(file, stream, 96 + number) for number, stream in enumerate(streams))
    packets: list[list[Packet[Any]]] = [[] for _ in tracks]
    packetizers = {number: VideoPacketizer(s) for number, s in enumerate(streams) if isinstance(s, VideoStream)}
    numbers = {stream.index: number for number, stream in enumerate(streams)}
    for packet in container.demux(streams):
        number = numbers[packet.stream.index]
        if packet.size and packet.pts is not None:
            packets[number].append(packet)
    units: list[list[_Unit]] = [[] for _ in tracks]
    for number, found in enumerate(packets):
        _complete_dts(found)
        for packet in found:
            units[number] += _units(tracks[number], packet, packetizers.get(number))
    for packetizer in packetizers.values():
        packetizer.close()
    if not any(units):
        raise CameraStreamError("holds no frames", where=file.name)
    return _assemble(file, tracks, units)


def _complete_dts(packets: list[Packet[Any]]) -> None:
    """Count back from the first known DTS: containers without DTS (Matroska) leave out those before reordering."""
    known = next((number for number, packet in enumerate(packets) if packet.dts is not None), None)
    if known is None:
        for packet in packets:
            packet.dts = packet.pts  # no reordering: a raw or intra-only stream
        return
    step = packets[known].duration or 1
    for number in range(known - 1, -1, -1):
        packets[number].dts = (packets[number + 1].dts or 0) - step


def _track(file: Path, stream: VideoStream | AudioStream, dynamic_type: int) -> MediaTrack:
    codec = _BY_FFMPEG_NAME.get(stream.codec_context.name)
    if codec is None:
        raise CameraStreamError(
            f"codec {stream.codec_context.name} cannot be served as it is",
            where=file.name,
            hint="re-encode it to H.264 with services.cli.demo.encode.camera_pair",
        )
    config = bytes(stream.codec_context.extradata or b"")
    if isinstance(stream, VideoStream):
        return MediaTrack(codec, 26 if codec is Codec.MJPEG else dynamic_type, 90_000, config)
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    static = {Codec.PCMU: 0, Codec.PCMA: 8}.get(codec) if (rate, channels) == (8000, 1) else None
    return MediaTrack(codec, dynamic_type if static is None else static, rate, config, channels)


def _to_ns(value: int, base: Fraction) -> int:
    return round(value * base * NS_PER_S)


def _units(track: MediaTrack, packet: Packet[Any], packetizer: VideoPacketizer | None) -> list[_Unit]:
    base, dts = packet.time_base, packet.dts
    pts = packet.pts
    assert dts is not None  # _complete_dts
    assert pts is not None  # checked in _read
    dts_ns, pts_ns, duration_ns = _to_ns(dts, base), _to_ns(pts, base), _to_ns(packet.duration or 0, base)
    if packetizer is not None:
        key = packet.is_keyframe
        repeated = tuple(RtpPayload(nal, False) for nal in track.parameter_sets) if key else ()
        return [_Unit(dts_ns, pts_ns, duration_ns, key, repeated + _cut(track, packet, packetizer))]
    data = bytes(packet)
    if track.codec is Codec.AAC:
        return [_Unit(dts_ns, pts_ns, duration_ns, True, aac_payload(data))]
    step = _G711_CHUNK_SAMPLES * track.channels
    found = []
    for at in range(0, len(data), step):
        start_ns = pts_ns + at // track.channels * NS_PER_S // track.clock_rate
        piece = data[at : at + step]
        length_ns = len(piece) // track.channels * NS_PER_S // track.clock_rate
        found.append(_Unit(start_ns, start_ns, length_ns, True, (RtpPayload(piece, False),)))
    return found


def _cut(track: MediaTrack, packet: Packet[Any], packetizer: VideoPacketizer) -> tuple[RtpPayload, ...]:
    payloads = packetizer.cut(packet)
    return jpeg_with_two_tables(payloads) if track.codec is Codec.MJPEG else payloads


def _pass_ns(units: list[_Unit]) -> int:
    """Length of one pass, so that the next one's first frame follows the last at the usual distance."""
    ordered = sorted(unit.pts_ns for unit in units)
    last = max(units, key=lambda unit: unit.pts_ns)
    usual = (ordered[-1] - ordered[0]) // max(1, len(ordered) - 1)
    return ordered[-1] - ordered[0] + (last.duration_ns or usual or NS_PER_S // 25)


def _assemble(file: Path, tracks: tuple[MediaTrack, ...], units: list[list[_Unit]]) -> MediaSource:
    leading = next(number for number, found in enumerate(units) if found)  # video when there is any
    origin_ns = min(unit.pts_ns for unit in units[leading])
    duration_ns = _pass_ns(units[leading])
    frames: list[MediaFrame] = []
    for number, found in enumerate(units):
        kept = [
            unit
            for unit in found
            # audio beyond the video would overlap the next pass
            if number == leading or (unit.dts_ns - origin_ns >= 0 and unit.dts_ns - origin_ns < duration_ns)
        ]
        frames += [MediaFrame(number, index, u.dts_ns - origin_ns, u.pts_ns - origin_ns, u.key, u.payloads) for index, u in enumerate(kept)]
    frames.sort(key=lambda frame: frame.dts_ns)
    return MediaSource(file, tracks, tuple(frames), duration_ns)
