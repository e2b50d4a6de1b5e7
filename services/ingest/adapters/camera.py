"""Opening a camera's stream with libav, and its packets. FFmpeg's errors become ours here, and credentials go into URLs only here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.rational import AVRational
from av.video.stream import VideoStream

from services.ingest.adapters.errors import camera_error, no_answer
from services.ingest.adapters.files import paced
from services.ingest.adapters.tls import TLS_SCHEMES, certificate_error, known_authorities
from services.ingest.core.segmenter import TICKS_PER_S
from shared.config.channels import StreamConfig, Transport
from shared.domain.clock import Clock, ns_to_seconds
from shared.domain.errors import CameraStreamError
from shared.domain.media import VideoCodec

UDP_BUFFER_BYTES = 4 * 1024 * 1024  # of the socket: a key frame of a 4K camera comes as one burst
TICK = AVRational(1, TICKS_PER_S)
_TICK_DENOMINATOR = TICKS_PER_S


#: Packets without decode timestamps that may come first (at most the reorder depth of the codecs) before some are made up.
EARLY_MAX = 17


def _backdated(packets: list[Packet[Any]]) -> list[Packet[Any]]:
    """The first packets of a live stream: libav gives them no decode timestamps until it knows the reordering. They are counted
    back from the first that has one."""
    dts = packets[-1].dts
    if dts is None:
        return packets
    for packet in reversed(packets[:-1]):
        dts -= packet.duration or TICKS_PER_S // 25
        packet.dts = dts
        if packet.pts is None:
            packet.pts = dts
    return packets


def configure_libav(*, listen: bool) -> None:
    """Whether libav's warnings reach `av.logging.Capture` in the camera threads. They tell of lost RTP packets, which only UDP has.

    Process-wide; called when the service starts. Listening costs every stream: PyAV's callback takes the GIL for each message,
    before its level is looked at, and RTSP has one per packet (measured: twice the CPU of a TCP stream). Nobody else gets to see the
    messages: they can hold URLs with passwords.
    """
    av.logging.set_skip_repeated(False)
    av.logging.set_level(av.logging.WARNING if listen else None)
    logging.getLogger("libav").setLevel(logging.CRITICAL + 1)


def tells_losses(config: StreamConfig) -> bool:
    """Whether packets of this stream can be lost on the way."""
    return config.transport is Transport.UDP and config.url.startswith("rtsp:")


def address(config: StreamConfig) -> str:
    """The URL with credentials, percent-encoded. A secret: never logged, never in an error."""
    if not config.user:
        return config.url
    parts = urlsplit(config.url)
    account = quote(config.user, safe="")
    if config.password is not None:
        account += ":" + quote(config.password.get_secret_value(), safe="")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{account}@{host}"))


def options(config: StreamConfig, *, audio: bool, read_timeout_s: float, authorities: Path) -> dict[str, str]:
    """libav's options for a URL. `authorities`: PEM file of those that are believed."""
    scheme = urlsplit(config.url).scheme
    common = {
        "fpsprobesize": "0",  # do not watch seconds of video to guess a rate that nobody uses
        "analyzeduration": "3000000",  # us; parameter sets come at key frames
    }
    timeout = {"timeout": str(round(read_timeout_s * 1e6))}  # us of silence
    tls = {"tls_verify": "1", "ca_file": str(authorities)} if config.verify_tls else {"tls_verify": "0"}
    if scheme in ("rtsp", "rtsps"):
        rtsp = common | timeout
        rtsp["rtsp_transport"] = config.transport.value
        # Only what is recorded is set up: no metadata tracks, which some cameras send in bulk.
        rtsp["allowed_media_types"] = "video+audio" if audio else "video"
        rtsp["buffer_size"] = str(UDP_BUFFER_BYTES)
        rtsp["user_agent"] = "Vedette"
        return rtsp | tls if scheme == "rtsps" else rtsp
    if scheme in ("http", "https"):
        http = common | timeout | {"rw_timeout": timeout["timeout"], "user_agent": "Vedette", "reconnect": "0"}
        return http | tls if scheme == "https" else http
    return common


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a camera needs.

    Attributes:
        stop: set from another thread, ends the waits of a file's pacing.
        ca_file: PEM file of the authorities to believe where the stream names none; None: those of the system.
    """

    config: StreamConfig
    audio: bool
    connect_timeout_s: float
    read_timeout_s: float
    clock: Clock
    stop: threading.Event
    ca_file: Path | None = None

    @property
    def authorities(self) -> Path:
        """Who is believed of this stream's camera."""
        return self.config.ca_file or self.ca_file or known_authorities()


class Camera:
    """An open stream. Belongs to the thread that opened it.

    Attributes:
        video, codec: the video stream that is read. audio: likewise, or None.
        rescale: whether video timestamps are not in 90 kHz ticks as they come.
        stamped: whether packets have timestamps of their own; else arrival is the time.
    """

    def __init__(self, opening: Opening) -> None:
        """Connect and find the streams.

        Raises:
            CameraAuthError, CameraNotFound, CameraUnreachable, CameraStreamError.
        """
        self._opening = opening
        config = opening.config
        self._is_file = urlsplit(config.url).scheme == "file"
        target = unquote(urlsplit(config.url).path) if self._is_file else address(config)
        self.where = config.url
        begun_ns = opening.clock.monotonic_ns()
        try:
            container = av.open(
                target,
                options=options(config, audio=opening.audio, read_timeout_s=opening.read_timeout_s, authorities=opening.authorities),
                # Only the opening is bounded by PyAV: its callback takes the GIL at every socket read while it is armed.
                timeout=(opening.connect_timeout_s, None),
            )
        except (av.FFmpegError, OSError) as error:
            if ns_to_seconds(opening.clock.monotonic_ns() - begun_ns) >= opening.connect_timeout_s:
                raise no_answer(self.where) from None  # whatever libav makes of being interrupted
            if config.verify_tls and urlsplit(config.url).scheme in TLS_SCHEMES:
                refused = certificate_error(self.where, opening.authorities, opening.connect_timeout_s)
                if refused is not None:
                    raise refused from None
            raise camera_error(error, self.where) from None  # the original names the URL with its password
        self._container: InputContainer = container
        try:
            self._choose(container)
        except BaseException:
            self.close()
            raise

    def _choose(self, container: InputContainer) -> None:
        if not container.streams.video:
            raise CameraStreamError("there is no video in this stream", where=self.where, hint="`vedette camera probe` shows what it sends")
        self.video: VideoStream = container.streams.video[0]
        name = self.video.codec_context.name if self.video.codec_context is not None else "unknown"
        try:
            self.codec = VideoCodec(name)
        except ValueError:
            supported = ", ".join(codec.value for codec in VideoCodec)
            raise CameraStreamError(
                f"the video codec {name} cannot be recorded", where=self.where, hint=f"set the camera to one of {supported}"
            ) from None
        if self.video.codec_context.width <= 0:
            raise CameraStreamError("no picture came in time", where=self.where, hint="shorten the camera's key frame interval")
        self.audio: AudioStream | None = container.streams.audio[0] if self._opening.audio and container.streams.audio else None
        base = self.video.time_base
        self.rescale = base is None or base.numerator != 1 or base.denominator != _TICK_DENOMINATOR
        # Multipart JPEG has no timestamps; libav makes them up at 25 frames/s.
        self.stamped = container.format.name != "mpjpeg"

    @property
    def live(self) -> bool:
        """Whether it comes over the network, not from a file."""
        return not self._is_file

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as announced."""
        return self.video.codec_context.width, self.video.codec_context.height

    def packets(self) -> Iterator[Packet[Any]]:
        """Packets of video and audio as they come, for ever (files) or until the camera ends the stream.

        Raises:
            CameraUnreachable, CameraStreamError: and after the last packet of a live stream.
        """
        streams = [self.video] if self.audio is None else [self.video, self.audio]
        if self._is_file:
            return paced(self._container, streams, self._opening.clock, self._opening.stop, self.where)
        return self._live(streams)

    def _live(self, streams: list[Any]) -> Iterator[Packet[Any]]:
        early: list[Packet[Any]] = []
        try:
            packets = self._container.demux(streams)
            for packet in packets:
                if packet.stream_index == self.video.index:
                    early.append(packet)
                    if packet.dts is not None or len(early) >= EARLY_MAX:
                        yield from _backdated(early)
                        break
                else:
                    yield packet
            for packet in packets:  # `yield from` raises StopIteration from PyAV's generator when it is exhausted already
                yield packet
        except av.FFmpegError as error:
            raise camera_error(error, self.where) from None
        raise CameraStreamError("the camera ended the stream", where=self.where)

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._container.close()
