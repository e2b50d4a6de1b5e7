"""Decoding at the least cost that gives the wanted pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from services.ingest.adapters.camera import Camera
from services.ingest.core.sampler import FrameSampler, Sampling, fit
from services.ingest.core.segmenter import TICKS_PER_S, ticks_to_ns
from shared.domain.media import Picture, VideoCodec


class Decoder:
    """Samples one stream to pictures. Belongs to the camera's thread.

    When key frames alone come often enough, only they are decoded (1 % of a core instead of 10 % at 1080p25); of all-intra streams
    only the frames that are wanted. Frames are chosen before they are scaled.
    """

    def __init__(self, camera: Camera, wanted: Sampling) -> None:
        self._codec: Any = camera.video.codec_context
        self._codec.thread_count = 1  # a camera's share of a core is small; threads cost memory and latency
        # Deblocking is a fifth of the work and invisible at analysis size.
        self._codec.options = {"skip_loop_filter": "all"}
        self._intra = camera.codec is VideoCodec.MJPEG
        self._wanted = wanted
        self._sampler = FrameSampler(wanted.fps)
        self._wanted_ticks = TICKS_PER_S / wanted.fps
        self._last_key: int | None = None
        self._keys_suffice = wanted.keys_only
        self._reformatter = VideoReformatter()
        self._shift = 0
        self.failed = 0

    def feed(self, packet: Packet[Any], media: int) -> Iterator[tuple[int, int, int, Picture]]:
        """(media time in ns, source width, source height, picture) for each frame that is due.

        Args:
            media: the packet's presentation time in media ticks.
        """
        if packet.is_keyframe:
            self._learn(media)
        elif self._keys_suffice:
            return
        if (self._intra or self._keys_suffice) and not self._sampler.due(ticks_to_ns(media)):
            return
        # The packet's own timestamps are those of its segment: give the decoder media time, which its frames then carry.
        pts, packet.pts = packet.pts, media
        try:
            frames = self._codec.decode(packet)
            if self._keys_suffice:  # at once, not when the frames come that it might be reordered with
                frames += self._codec.decode(None)
                self._codec.flush_buffers()
        except av.FFmpegError:
            self.failed += 1
            return
        finally:
            packet.pts = pts
        for frame in frames:
            at_ns = ticks_to_ns(frame.pts if frame.pts is not None else media)
            if self._intra or self._keys_suffice or self._sampler.due(at_ns):
                yield at_ns, frame.width, frame.height, self._picture(frame)

    def lost(self) -> None:
        """Packets are missing: forget what the decoder holds."""
        self._codec.flush_buffers()

    def _learn(self, media: int) -> None:
        last, self._last_key = self._last_key, media
        if last is not None and not self._intra and not self._wanted.keys_only:
            suffice = 0 < media - last <= self._wanted_ticks * 1.1
            if suffice != self._keys_suffice:
                self._keys_suffice = suffice
                self._codec.flush_buffers()

    def _picture(self, frame: Any) -> Picture:
        width, height = fit(frame.width, frame.height, self._wanted.width, self._wanted.height)
        small = self._reformatter.reformat(frame, width, height, "yuv420p", interpolation=Interpolation.FAST_BILINEAR)
        return Picture(width, height, i420=np.ascontiguousarray(small.to_ndarray()), full_range=frame.color_range == ColorRange.JPEG)
