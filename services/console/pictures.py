"""Live pictures: the newest frame of each channel, turned into JPEG at most once, in a thread, and only when somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

from services.console import metrics
from services.console.core.outbox import LivePicture, pack_picture
from shared.domain.clock import Clock, ns_to_seconds
from shared.domain.media import Picture
from shared.messages import FrameMessage

#: At analysis size: 25-30 kB a picture.
JPEG_QUALITY = 82

_LEVELS = np.arange(256, dtype=np.float64)
#: Limited range to full range (BT.601): luma 16..235 and chroma 16..240 become 0..255.
_FULL_LUMA = np.clip(np.rint((_LEVELS - 16) * 255 / 219), 0, 255).astype(np.uint8)
_FULL_CHROMA = np.clip(np.rint((_LEVELS - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)


def to_jpeg(picture: Picture) -> bytes:
    """JPEG bytes of a picture; as they are when it has them."""
    if picture.jpeg is not None:
        return picture.jpeg
    assert picture.i420 is not None
    width, height = picture.width, picture.height
    flat = np.ascontiguousarray(picture.i420).reshape(-1)
    luma, chroma = width * height, width * height // 4
    if not picture.full_range:  # JPEG is full range: left as it is, black would be grey
        flat = np.concatenate([_FULL_LUMA[flat[:luma]], _FULL_CHROMA[flat[luma:]]])
    y = flat[:luma].reshape(height, width)
    u = flat[luma : luma + chroma].reshape(height // 2, width // 2)
    v = flat[luma + chroma :].reshape(height // 2, width // 2)
    return bytes(simplejpeg.encode_jpeg_yuv_planes(y, u, v, quality=JPEG_QUALITY, fastdct=True))


class _Channel:
    """The newest frame of one channel and its encoded picture. `jpeg_of`: (session, sequence) of `picture`."""

    def __init__(self) -> None:
        self.frame: FrameMessage | None = None
        self.fresh = asyncio.Event()
        self.lock = asyncio.Lock()
        self.jpeg: bytes = b""
        self.picture: LivePicture | None = None
        self.encoded: tuple[str, int] | None = None


class Pictures:
    """The newest picture of every channel."""

    def __init__(self, channels: Iterable[str], clock: Clock) -> None:
        self._channels = {channel: _Channel() for channel in channels}
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="console-jpeg")

    def stop(self) -> None:
        """Idempotent."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(self._channels)

    def reconfigure(self, channels: Iterable[str]) -> None:
        """These channels from here on; those that stay keep their picture."""
        self._channels = {channel: self._channels.get(channel) or _Channel() for channel in channels}

    def offer(self, frame: FrameMessage) -> None:
        """A new frame; the one before is forgotten."""
        channel = self._channels.get(frame.channel)
        if channel is not None:
            channel.frame = frame
            channel.fresh.set()

    def nudge(self, channel_id: str) -> None:
        """Somebody new wants this channel: what is there is fresh to them."""
        channel = self._channels.get(channel_id)
        if channel is not None and channel.frame is not None:
            channel.fresh.set()

    async def next(self, channel_id: str) -> None:
        """Wait for a fresh frame of the channel."""
        channel = self._channels[channel_id]
        await channel.fresh.wait()
        channel.fresh.clear()

    async def latest(self, channel_id: str) -> tuple[LivePicture, bytes] | None:
        """The newest picture as a live message and as JPEG; None when the channel is unknown or has shown nothing yet."""
        channel = self._channels.get(channel_id)
        if channel is None or channel.frame is None or self._threads is None:
            return None
        async with channel.lock:
            frame = channel.frame
            if channel.picture is None or channel.encoded != (frame.session, frame.sequence):
                started_ns = self._clock.monotonic_ns()
                jpeg = await asyncio.get_running_loop().run_in_executor(self._threads, to_jpeg, frame.picture)
                metrics.ENCODE_SECONDS.observe(ns_to_seconds(self._clock.monotonic_ns() - started_ns))
                metrics.PICTURES_ENCODED.labels(channel_id).inc()
                wire = pack_picture(channel_id, frame.capture_ns, frame.sequence, jpeg)
                channel.picture, channel.jpeg = LivePicture(channel_id, frame.capture_ns, frame.sequence, wire), jpeg
                channel.encoded = (frame.session, frame.sequence)
            return channel.picture, channel.jpeg
