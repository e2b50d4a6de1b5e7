"""What a camera sends, for `vedette camera probe`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import av.logging

from services.ingest.adapters.camera import Camera, Opening, configure_libav
from services.ingest.adapters.recorder import sender_ns
from services.ingest.core.segmenter import TICKS_PER_S
from shared.config.channels import StreamConfig, Transport
from shared.domain.clock import NS_PER_S, Clock, SystemClock, seconds_to_ns
from shared.domain.errors import CameraStreamError


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A few seconds of one stream.

    Attributes:
        codec: of the video; `width`, `height` in pixels.
        fps: frames a second by the camera's timestamps. `gop_frames`: frames from key frame to key frame, None: fewer than two seen.
        bitrate_bps: of the video. `frames`, `seconds`: how much was looked at.
        audio_codec: or None; `audio_rate` in Hz.
        sender_reports: the camera tells its clock (RTCP), and `clock_offset_s`: how far it is ahead of ours, with the delay in it.
        lost: times that libav told of lost or broken packets.
    """

    url: str
    codec: str
    width: int
    height: int
    fps: float
    gop_frames: int | None
    bitrate_bps: float
    frames: int
    seconds: float
    audio_codec: str | None
    audio_rate: int | None
    sender_reports: bool
    clock_offset_s: float | None
    lost: int


def stream_config(
    url: str, *, transport: Transport = Transport.TCP, user: str = "", password: str = "", verify_tls: bool = True,
    ca_file: Path | None = None,
) -> StreamConfig:  # fmt: skip
    """A stream's settings from a URL that may hold credentials (a person typed it).

    Raises:
        pydantic.ValidationError: the URL is none.
    """
    parts = urlsplit(url)
    if parts.username and not user:
        user, password = unquote(parts.username), unquote(parts.password or "")
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    secret = {"password": password} if password else {}
    tls = {"verify_tls": verify_tls, "ca_file": ca_file}
    return StreamConfig.model_validate({"url": url, "transport": transport, "user": user, **tls, **secret})


def probe(
    url: str, *, transport: Transport = Transport.TCP, user: str = "", password: str = "", verify_tls: bool = True,
    ca_file: Path | None = None, seconds: float = 5.0, timeout_s: float = 10.0, clock: Clock | None = None,
) -> StreamReport:  # fmt: skip
    """Read a stream for about `seconds`. Blocking.

    Raises:
        CameraError: with what is wrong and what to do.
    """
    clock = clock or SystemClock()
    config = stream_config(url, transport=transport, user=user, password=password, verify_tls=verify_tls, ca_file=ca_file)
    configure_libav(listen=True)
    with av.logging.Capture(local=True) as logs:
        camera = Camera(Opening(config, True, timeout_s, timeout_s, clock, threading.Event()))
        try:
            return _look(camera, config.url, clock, seconds_to_ns(seconds), logs)
        finally:
            camera.close()


def _look(camera: Camera, url: str, clock: Clock, length_ns: int, logs: list[tuple[int, str, str]]) -> StreamReport:
    end_ns = clock.monotonic_ns() + length_ns
    stamps: list[int] = []
    keys: list[int] = []
    size = 0
    offset_s: float | None = None
    try:
        for packet in camera.packets():
            if packet.stream_index == camera.video.index and packet.size:
                if packet.is_keyframe:
                    keys.append(len(stamps))
                told_ns = sender_ns(packet)
                if told_ns is not None:
                    late_s = (told_ns - clock.now_ns()) / NS_PER_S
                    offset_s = late_s if offset_s is None else max(offset_s, late_s)
                at_ns = clock.monotonic_ns()
                base = packet.time_base
                known = camera.stamped and packet.dts is not None and base
                stamps.append(round(packet.dts * base * TICKS_PER_S) if known and packet.dts is not None else at_ns * 9 // 100_000)
                size += packet.size
            if clock.monotonic_ns() >= end_ns:
                break
    except CameraStreamError:
        if len(stamps) < 2:  # an end after some frames is an answer too
            raise
    span_s = (stamps[-1] - stamps[0]) / TICKS_PER_S if len(stamps) > 1 else 0.0
    whole = [b - a for a, b in pairwise(keys)]
    audio = camera.audio.codec_context if camera.audio is not None else None
    return StreamReport(
        url=url, codec=camera.codec.value, width=camera.size[0], height=camera.size[1],
        fps=round((len(stamps) - 1) / span_s, 2) if span_s > 0 else 0.0, gop_frames=max(whole) if whole else None,
        bitrate_bps=round(size * 8 / span_s) if span_s > 0 else 0.0, frames=len(stamps), seconds=round(span_s, 2),
        audio_codec=audio.name if audio is not None else None, audio_rate=audio.sample_rate if audio is not None else None,
        sender_reports=offset_s is not None, clock_offset_s=None if offset_s is None else round(offset_s, 3), lost=len(logs),
    )  # fmt: skip
